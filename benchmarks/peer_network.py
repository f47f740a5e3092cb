"""A network as other frameworks' benchmarks read it: numpy arrays and a list of operators, nothing of ours.

It is the stock converter's inference file, in which BatchNormalization is folded into kernels and biases: what trains
is then the folded ones, which spares a peer the work of BatchNormalization. `save` writes one .npz; `load`, which needs
numpy alone, reads it.

An operator is a dict: `kind` ("conv", "add", "mean", "dense"), `inputs` and `output` (names of tensors), `activation`
("NONE", "RELU", "RELU6"); a "conv" also has `kernel` [out, in / groups, height, width] and `bias` (names of arrays),
`stride`, `groups` and `padding` [[top, bottom], [left, right]]; a "dense" has `kernel` [out, in] and `bias`. Images are
NCHW.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def save(tflite_file: Path, path: Path) -> None:
    """Raises ValueError at an operator that is not described here."""
    from tflite_export import flatbuffer

    (graph,) = flatbuffer.read(tflite_file).signatures
    arrays: dict[str, np.ndarray] = {}
    ops, padded = [], {}
    names = {tensor: f"t{i}" for i, tensor in enumerate((*graph.inputs.values(), *(op.outputs[0] for op in graph.ops)))}

    def array(value: np.ndarray) -> str:
        name = f"w{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value, np.float32)
        return name

    for op in graph.ops:
        if op.kind == "PAD":  # becomes part of the convolution that follows
            padded[op.outputs[0]] = op.inputs[0], op.inputs[1].data[1:3].tolist()
            continue
        x, kernel, bias = (*op.inputs, None, None)[:3]
        source, padding = padded.get(x, (x, [[0, 0], [0, 0]]))
        description = {
            "inputs": [names[source]],
            "output": names[op.outputs[0]],
            "activation": op.attributes.get("fused_activation_function", "NONE"),
        }
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            depthwise = op.kind == "DEPTHWISE_CONV_2D"
            stride = [op.attributes["stride_h"], op.attributes["stride_w"]]
            if op.attributes["padding"] == "SAME":
                padding = [_same(x.shape[i + 1], kernel.shape[i + 1], stride[i]) for i in range(2)]
            description |= {
                "kind": "conv",
                "kernel": array(kernel.data.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))),
                "bias": array(bias.data),
                "stride": stride,
                "groups": x.shape[3] // (1 if depthwise else kernel.shape[3]),
                "padding": padding,
            }
        elif op.kind == "ADD":
            description |= {"kind": "add", "inputs": [names[t] for t in op.inputs]}
        elif op.kind == "MEAN":
            description |= {"kind": "mean"}
        elif op.kind == "FULLY_CONNECTED":
            zeros = np.zeros(kernel.shape[0])
            description |= {"kind": "dense", "kernel": array(kernel.data)}
            description |= {"bias": array(zeros if bias is None else bias.data)}
        else:
            raise ValueError(f"a peer's network has no {op.kind}")
        ops.append(description)
    (image,) = graph.inputs.values()
    np.savez(path, ops=json.dumps(ops), input_shape=image.shape, **arrays)


def _same(size: int, kernel: int, stride: int) -> list[int]:
    """Zeros before and after, as TensorFlow pads."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return [total // 2, total - total // 2]


def load(path: str | Path) -> tuple[list[dict], dict[str, np.ndarray], tuple[int, ...]]:
    """Operators, arrays by name, and the shape of the input, [batch, height, width, channels]."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files if name.startswith("w")}
        return json.loads(str(data["ops"])), arrays, tuple(data["input_shape"].tolist())


def trainable(ops: list[dict], method: str) -> set[str]:
    """Names of the arrays that `method` trains: biases and the head ("bias"), or all ("full")."""
    if method not in ("bias", "full"):
        raise ValueError(f"a peer's network trains by bias or full, not {method}")
    names = {op["bias"] for op in ops if "bias" in op} | {op["kernel"] for op in ops if op["kind"] == "dense"}
    return names | {op["kernel"] for op in ops if "kernel" in op and method == "full"}
