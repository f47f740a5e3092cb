"""The training step of a peer, PyTorch, in a process of its own.

    python peer_torch.py network.npz method

`network.npz` is of peer_network.py, for the batch size that trains; one thread. Prints two numbers as JSON: VmHWM after
the import of torch and once the inputs are there, and after a few steps of SGD.
"""

import json
import sys

import numpy as np
import torch
from peer_network import load, trainable
from process_memory import peak_bytes
from torch.nn import functional

STEPS, LEARNING_RATE = 3, 1e-3
_ACTIVATIONS = {"NONE": lambda x: x, "RELU": functional.relu, "RELU6": functional.relu6}


def main(path, method):
    torch.set_num_threads(1)
    ops, arrays, (rows, height, width, channels) = load(path)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(rows, channels, height, width)).astype(np.float32))
    y = torch.zeros(rows, dtype=torch.int64)
    before = peak_bytes()
    trained = trainable(ops, method)
    weights = {n: torch.tensor(value, requires_grad=n in trained) for n, value in arrays.items()}
    for _ in range(STEPS):
        functional.cross_entropy(logits(ops, weights, x), y).backward()
        with torch.no_grad():  # SGD by hand: torch.optim imports the compiler
            for name in trained:
                weights[name] -= LEARNING_RATE * weights[name].grad
                weights[name].grad = None
    print(json.dumps((before, peak_bytes())))


def logits(ops, weights, x):
    """No map outlives its last reader, but for those that autograd keeps."""
    maps = {"t0": x}
    last = {name: op for op in ops for name in op["inputs"]}
    for op in ops:
        inputs = [maps[name] for name in op["inputs"]]
        maps[op["output"]] = _ACTIVATIONS[op["activation"]](run(op, weights, *inputs))
        for name in op["inputs"]:
            if last[name] is op:
                maps.pop(name, None)
    return maps[ops[-1]["output"]]


def run(op, weights, x, other=None):
    if op["kind"] == "add":
        return x + other
    if op["kind"] == "mean":
        return x.mean((2, 3))
    kernel, bias = weights[op["kernel"]], weights[op["bias"]]
    if op["kind"] == "dense":
        return functional.linear(x, kernel, bias)
    (top, bottom), (left, right) = op["padding"]
    if top == bottom and left == right:
        return functional.conv2d(x, kernel, bias, op["stride"], (top, left), groups=op["groups"])
    x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(x, kernel, bias, op["stride"], groups=op["groups"])


if __name__ == "__main__":
    main(*sys.argv[1:])
