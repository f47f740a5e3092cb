"""The kernels' goldens as nodes of the TFLM adapter, and the program that runs them against the stand-in headers."""

from __future__ import annotations

import dataclasses
import pathlib
import struct

import numpy as np

from tests.micro import toolchain
from tests.micro.goldens import Call, Optimizer, Out, Variable

ADAPTER = toolchain.MICRO / "tflm"
STAND_IN = ADAPTER / "stand_in"
RUNNER = toolchain.ROOT / "tests" / "micro" / "tflm_runner.cc"
CXX_WARNINGS = ["-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
VERSION = struct.pack("<i", 1)
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int32): 2, np.dtype(np.uint8): 3, np.dtype(np.int8): 9}


@dataclasses.dataclass(frozen=True)
class Node:
    """One node: op name, custom options, input arrays and outputs in the op's order; None is an absent tensor."""

    name: str
    op: str
    options: bytes
    inputs: tuple
    outputs: tuple
    scratch_limit: int = 1 << 30  # of an arena that refuses more


def compile_objects(folder: pathlib.Path, includes: list, flags: list) -> list[pathlib.Path]:
    """The kernels and the adapter, every warning an error: object files to link with a C++ main."""
    compiler = toolchain.require("g++", "g++")
    library = folder / "kernels.o"
    sources = toolchain.sources()
    toolchain.run([toolchain.host_compiler(), *toolchain.WARNINGS, *toolchain.includes(), *flags, "-r", *sources]
                  + ["-o", library])  # fmt: skip
    objects = [library]
    for source in sorted(ADAPTER.glob("*.cc")):
        objects.append(folder / f"{source.stem}.o")
        paths = [*includes, *toolchain.includes(), f"-I{ADAPTER}"]
        toolchain.run([compiler, *CXX_WARNINGS, *flags, *paths, "-c", source, "-o", objects[-1]])
    return objects


def options_of_window(words) -> bytes:
    """Strides, padding, groups and activation."""
    return VERSION + struct.pack("<6i", *words)


def options_of_optimizer(o: Optimizer) -> bytes:
    numbers = o.momentum, o.beta_1, o.beta_2, o.epsilon, o.weight_decay
    return struct.pack("<2i5f", o.kind, o.nesterov, *numbers)


def _words(function: str, params: bytes, activation: bool) -> tuple:
    """The window of a golden's params struct; a gradient has no activation."""
    values = struct.unpack(f"<{len(params) // 4}i", params)
    if "pointwise" in function:
        return (1, 1, 0, 0, 1, values[3] * activation)
    groups = 1 if "depthwise" in function else values[14]
    return (*values[10:14], groups, values[-1] * activation)


def _variable(o: Optimizer, variable: Variable) -> tuple[tuple, tuple]:
    """(inputs from the value on, outputs) of an update."""
    outs = variable.outs()
    starts = [out and out.start() for out in outs]
    rate, step = np.array([o.learning_rate], np.float32), np.array([o.step], np.int32)
    scale = None if o.gradient_scale == 1.0 else np.array([o.gradient_scale], np.float32)
    return (starts[0], rate, step if o.kind == 2 else None, scale, *starts[1:]), tuple(out for out in outs if out)


def _sums(out: Out) -> Out:
    """What a gradient added to `out` is by itself."""
    return Out((out.expected - out.initial).astype(np.float32), tolerance=out.allowed())


def node(call: Call) -> Node | None:
    """The node that makes a golden's call, or None where the adapter has no op for it."""
    function, a = call.function.removesuffix("_f32"), list(call.arguments)
    if call.status:
        return None
    if call.function.endswith("_f32"):
        a.insert(3, None)  # no scale
    prefix = "TINYTL_DEPTHWISE_CONV_2D" if "depthwise" in function else "TINYTL_CONV_2D"
    if function.endswith(("conv_forward", "pointwise_forward", "depthwise_forward")):
        kernel = a[2] if a[2].ndim == 4 else a[2][None]
        options = options_of_window(_words(function, a[0], True))
        return Node(call.name, prefix, options, (a[1], kernel, a[3], a[4]), (a[5], a[6]))
    if function.endswith(("conv_input_gradient", "pointwise_input_gradient", "depthwise_input_gradient")):
        kernel = a[2] if a[2].ndim == 4 else a[2][None]
        options = options_of_window(_words(function, a[0], False))
        other = a[6].start() if a[5] else None
        outputs = (Out(a[6].expected, tolerance=a[6].allowed()),)
        return Node(call.name, f"{prefix}_INPUT_GRADIENT", options, (a[1], kernel, a[3], a[4], other), outputs)
    if function.endswith("_kernel_gradient"):
        options = options_of_window(_words(function, a[0], False))
        return Node(call.name, f"{prefix}_KERNEL_GRADIENT", options, (a[1], a[2]), (_sums(a[3]),))
    if function.endswith("_kernel_update"):
        options = options_of_window(_words(function, a[0], False)) + options_of_optimizer(a[4])
        inputs, outputs = _variable(a[4], a[3])
        return Node(call.name, f"{prefix}_KERNEL_UPDATE", options, (a[1], a[2], *inputs), outputs)
    if function == "tinytl_bias_gradient":
        outputs = (_sums(a[4]), a[0]) if a[1] is not None else (_sums(a[4]),)
        return Node(call.name, "TINYTL_BIAS_GRADIENT", VERSION, (a[0].start(), a[1]), outputs)
    if function == "tinytl_bias_update":
        inputs, outputs = _variable(a[5], a[4])
        outputs = (*outputs, a[0]) if a[1] is not None else outputs
        options = VERSION + options_of_optimizer(a[5])
        return Node(call.name, "TINYTL_BIAS_UPDATE", options, (a[0].start(), a[1], *inputs), outputs)
    if function == "tinytl_update":
        inputs, outputs = _variable(a[0], a[1])
        return Node(call.name, "TINYTL_UPDATE", VERSION + options_of_optimizer(a[0]), (a[2], *inputs), outputs)
    return None


def _bytes(data: bytes) -> bytes:
    return struct.pack("<i", len(data)) + data


def _tensor(array: np.ndarray | None) -> bytes:
    if array is None:
        return struct.pack("<i", 0)
    array = np.ascontiguousarray(array)
    head = struct.pack(f"<ii{array.ndim}i", _TYPES[array.dtype], array.ndim, *array.shape)
    return head + _bytes(array.tobytes())


def write(nodes: list[Node], path: pathlib.Path) -> None:
    """Writes nodes as tflm_runner.cc reads them."""
    parts = [struct.pack("<i", len(nodes))]
    for item in nodes:
        parts += [_bytes(item.op.encode()), _bytes(item.options), struct.pack("<i", item.scratch_limit)]
        starts = [None if out is None else np.full_like(out.start(), 77) for out in item.outputs]
        for tensors in (item.inputs, starts):
            parts += [struct.pack("<i", len(tensors)), *(_tensor(array) for array in tensors)]
    path.write_bytes(b"".join(parts))


def run(program: pathlib.Path, nodes: list[Node], folder: pathlib.Path, write=write) -> tuple[list, list[str]]:
    """Runs the nodes: per node its output arrays, or the status that it failed with; and the lines of MicroPrintf."""
    cases, results = folder / "cases", folder / "results"
    write(nodes, cases)
    printed = toolchain.run([program, cases, results]).stdout
    data, offset, found = results.read_bytes(), 0, []
    for item in nodes:
        (status,) = struct.unpack_from("<i", data, offset)
        offset += 4
        arrays = []
        for out in item.outputs if status == 0 else ():
            if out is not None:
                arrays.append(np.frombuffer(data, out.expected.dtype, out.expected.size, offset))
                offset += out.expected.nbytes
        found.append(status or arrays)
    assert offset == len(data)
    lines = [""] * len(nodes)
    for line in printed.splitlines():
        number, _, text = line.partition(" ")
        lines[int(number)] += text
    return found, lines
