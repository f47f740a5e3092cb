"""The training step of a peer, ONNX Runtime's on-device training, in a process of its own.

    python peer_onnxruntime_training.py prepare network.npz method folder    what its offline step writes
    python peer_onnxruntime_training.py run network.npz folder

`network.npz` is of peer_network.py, for the batch size that trains; one thread. `run` prints two numbers as JSON: VmHWM
after the import of onnxruntime and once the inputs are there, and after a few steps of SGD.
"""

import json
import sys
from pathlib import Path

import numpy as np
from peer_network import load, trainable
from process_memory import peak_bytes

STEPS = 3


def prepare(path, method, folder):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.training import artifacts

    ops, arrays, (rows, height, width, channels) = load(path)
    arrays |= {"zero": np.float32(0), "six": np.float32(6)}
    (classes,) = arrays[ops[-1]["bias"]].shape
    model = helper.make_model(
        helper.make_graph(
            [node for op in ops for node in nodes(op, helper.make_node)],
            "network",
            [helper.make_tensor_value_info("t0", TensorProto.FLOAT, (rows, channels, height, width))],
            [helper.make_tensor_value_info(ops[-1]["output"], TensorProto.FLOAT, (rows, classes))],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", 15)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    trained = trainable(ops, method)
    artifacts.generate_artifacts(
        model,
        requires_grad=sorted(trained),
        frozen_params=sorted(arrays.keys() - trained),
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.SGD,
        artifact_directory=folder,
    )


def nodes(op, node):
    """The ONNX nodes of one operator; `node` makes one."""
    raw = op["output"] if op["activation"] == "NONE" else op["output"] + "_raw"
    if op["kind"] == "conv":
        (top, bottom), (left, right) = op["padding"]
        attributes = {"strides": op["stride"], "group": op["groups"], "pads": [top, left, bottom, right]}
        yield node("Conv", [*op["inputs"], op["kernel"], op["bias"]], [raw], **attributes)
    elif op["kind"] == "add":
        yield node("Add", op["inputs"], [raw])
    elif op["kind"] == "mean":
        yield node("GlobalAveragePool", op["inputs"], [raw + "_map"])
        yield node("Flatten", [raw + "_map"], [raw])
    else:
        yield node("Gemm", [*op["inputs"], op["kernel"], op["bias"]], [raw], transB=1)
    if op["activation"] == "RELU6":
        # Its gradient of Clip is missing.
        yield node("Relu", [raw], [raw + "_relu"])
        yield node("Min", [raw + "_relu", "six"], [op["output"]])
    elif op["activation"] == "RELU":
        yield node("Relu", [raw], [op["output"]])


def run(path, folder):
    import onnxruntime
    from onnxruntime.training import api

    _, _, (rows, height, width, channels) = load(path)
    x = np.random.default_rng(0).normal(size=(rows, channels, height, width)).astype(np.float32)
    y = np.zeros(rows, np.int64)
    before = peak_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    folder = Path(folder)
    state = api.CheckpointState.load_checkpoint(folder / "checkpoint")
    module = api.Module(folder / "training_model.onnx", state, session_options=options)
    optimizer = api.Optimizer(folder / "optimizer_model.onnx", module)
    module.train()
    for _ in range(STEPS):
        module(x, y)
        optimizer.step()
        module.lazy_reset_grad()
    print(json.dumps((before, peak_bytes())))


if __name__ == "__main__":
    {"prepare": prepare, "run": run}[sys.argv[1]](*sys.argv[2:])
