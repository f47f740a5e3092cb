"""The one representation that every pass reads and writes.

A `Graph` is one signature: named inputs, named outputs and a list of operators in execution order. Everything is plain,
immutable data. Tensors, operators and variables are compared by identity, so a pass replaces objects instead of
changing them, and two tensors that happen to share a name stay two tensors.

Layouts are TFLite's: activations NHWC, convolution kernels OHWI ``[out, height, width, in / groups]``, depthwise
kernels ``[1, height, width, channels]``, FULLY_CONNECTED kernels ``[out, in]``.

`Op.kind` is the name of a TFLite builtin operator, or one of `CANONICAL`: the operators that automatic differentiation
emits and that a legalising pass rewrites, because each runtime does them best in a form of its own; or one of `CUSTOM`,
custom operators of TFLite Micro that `micro/tflm` has kernels for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

CANONICAL = {
    # kind: inputs -> output
    "ACTIVATION_MASK": "(y) -> bool, y's shape: where the activation passes a gradient, told from its *output* y",
    "POSITIVE_MASK": "(x) -> bool, x's shape: where x is positive",
    "EQUAL_MASK": "(x, y) -> bool, broadcast: where x equals y, as where it is the maximum of itself and another",
    "APPLY_MASK": "(gradient, mask) -> gradient where mask holds, 0 elsewhere; the gradient broadcasts to the mask",
    "CONV_2D_INPUT_GRADIENT": "(gradient, kernel) -> gradient of CONV_2D's input",
    "DEPTHWISE_CONV_2D_INPUT_GRADIENT": "(gradient, kernel) -> gradient of DEPTHWISE_CONV_2D's input",
    "CONV_2D_KERNEL_GRADIENT": "(x, gradient) -> gradient of CONV_2D's kernel",
    "DEPTHWISE_CONV_2D_KERNEL_GRADIENT": "(x, gradient) -> gradient of DEPTHWISE_CONV_2D's kernel",
    "AVERAGE_POOL_2D_GRADIENT": "(gradient) -> gradient of AVERAGE_POOL_2D's input",
    "MAX_POOL_2D_GRADIENT": "(x, y, gradient) -> gradient of x; of equal maxima in a window the first takes it",
    "SWISH": "(x) -> x * LOGISTIC(x)",
    "SOFTPLUS": "(x) -> log(1 + exp(x)), finite for every finite x",
    "SELU": "(x) -> 1.0507 x where x > 0, 1.7581 (exp(x) - 1) elsewhere",
    "HARD_SWISH_ONE_BIT": "(x) -> HARD_SWISH(x), whose gradient is taken to be 1 where x > 0 and 0 elsewhere",
    "SWISH_ONE_BIT": "(x) -> SWISH(x), whose gradient is taken to be 1 where x > 0 and 0 elsewhere",
    "BROADCAST": "(x) -> x broadcast to the output's shape",
    "CHECKED_INPUT": "(x) -> float32 [1]: 0, or NaN where x holds a NaN or anything as large as `LARGEST_INPUT`",
    "UPDATE_IF": "(condition bool [1], new, old) -> new, or old if not; the gradient that made new is 0 or NaN then",
    "SWAPPED_KERNEL": "(kernel [out, 1, 1, in]), begin -> [n, 1, 1, out]: n inputs from begin on, turned at run time",
    "MATMUL": "(a, b), adj_x, adj_y -> a @ b for matrices",
    "OPTIMIZER_STEP": "(gradient, value, learning_rate, step int32 or None, slots …), optimizer -> value, slots",
    "ALL_FINITE": "(x, …) -> bool[1]: no NaN and no infinity in any of them",
    "ONE_IF_FINITE": "(x, …) -> float32[1]: 1 if ALL_FINITE, else 0",
    "ZERO_UNLESS_FINITE": "(x, y, …), bounded: whether x is in [-1, 1] -> x if all y are finite, else zeros",
}

CUSTOM = {
    # kind: inputs -> outputs; micro/tflm/README.md says more. An absent output is left out
    "TINYTL_CONV_2D": "(x, kernel, scale, bias) -> y, mask",
    "TINYTL_CONV_2D_INPUT_GRADIENT": "(dy, kernel, scale, mask_below, other) -> dx",
    "TINYTL_CONV_2D_KERNEL_GRADIENT": "(x, dy) -> gradient",
    "TINYTL_CONV_2D_KERNEL_UPDATE": "(x, dy, value, learning_rate, step, gradient_scale, slots …) -> value, slots",
    "TINYTL_DEPTHWISE_CONV_2D": "(x, kernel, scale, bias) -> y, mask",
    "TINYTL_DEPTHWISE_CONV_2D_INPUT_GRADIENT": "(dy, kernel, scale, mask_below, other) -> dx",
    "TINYTL_BIAS_GRADIENT": "(dy, mask) -> gradient, dy_masked",
    "TINYTL_BIAS_UPDATE": "(dy, mask, value, learning_rate, step, gradient_scale, slots …) -> value, slots, dy_masked",
    "TINYTL_UPDATE": "(gradient, value, learning_rate, step, gradient_scale, slots …) -> value, slots",
}

MASKS = frozenset({"ACTIVATION_MASK", "EQUAL_MASK", "POSITIVE_MASK"})  # one byte an element, NaN or not

LARGEST_INPUT = 1e9  # what is larger could overflow on its way through a network; a step on it changes nothing


@dataclasses.dataclass(frozen=True)
class Quantization:
    """``real = scale * (stored - zero_point)``, one pair for the tensor or one per slice along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A value. `dtype` is a numpy name ("float32", "int32", "bool", …); `data` is set for constants only."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: np.ndarray | None = None
    quantization: Quantization | None = None

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """State that outlives a run and is shared by all signatures. `initial` is its factory value."""

    name: str
    initial: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.initial.shape

    @property
    def dtype(self) -> str:
        return self.initial.dtype.name


@dataclasses.dataclass(frozen=True, eq=False)
class Op:
    """One operator. An absent optional input is None.

    `attributes` has the schema's names in snake case (``stride_h``, ``fused_activation_function``) with enum values by
    name (``"RELU6"``). READ_VARIABLE and ASSIGN_VARIABLE carry the `Variable` itself under ``"variable"``; resource
    tensors exist only in the file. IF (condition bool [1], x, …) carries two graphs and runs one, ``"then_graph"`` or
    ``"else_graph"``: their inputs are x, … and their outputs the operator's, by position; no tensor is in both.
    `origin` is the Keras layer (or the .tflite tensor) that the operator comes from.
    """

    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    origin: str = ""

    def __repr__(self) -> str:
        operands = ", ".join(tensor.name if tensor else "-" for tensor in self.inputs)
        return f"{', '.join(map(repr, self.outputs))} = {self.kind}({operands})"


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """One signature: its operators in execution order."""

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    ops: tuple[Op, ...]

    def replace(self, **changes) -> Graph:
        return dataclasses.replace(self, **changes)

    @property
    def branches(self) -> tuple[Graph, ...]:
        """The graphs that this one's IF operators run, each followed by its own branches."""
        taken = [op.attributes[branch] for op in self.ops if op.kind == "IF" for branch in ("then_graph", "else_graph")]
        return tuple(graph for branch in taken for graph in (branch, *branch.branches))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Every variable that is read or assigned, in order of first use, here or in a branch."""
        ops = [op for graph in (self, *self.branches) for op in graph.ops]
        return tuple(dict.fromkeys(op.attributes["variable"] for op in ops if "variable" in op.attributes))


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """What a .tflite file holds: signatures that share variables, and metadata buffers.

    `offsets` is where in the arena the file itself puts tensors, in bytes; only TFLite Micro looks at it.
    """

    signatures: tuple[Graph, ...]
    metadata: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    offsets: Mapping[Tensor, int] = dataclasses.field(default_factory=dict)

    def with_metadata(self, **metadata: bytes) -> Program:
        return dataclasses.replace(self, metadata={**self.metadata, **metadata})

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(dict.fromkeys(v for graph in self.signatures for v in graph.variables))


def producers(ops: Iterable[Op]) -> dict[Tensor, Op]:
    """The operator that writes each tensor."""
    return {tensor: op for op in ops for tensor in op.outputs}


def consumers(ops: Iterable[Op]) -> dict[Tensor, list[Op]]:
    """The operators that read each tensor, in order; an operator that reads it twice stands there once."""
    table: dict[Tensor, list[Op]] = {}
    for op in ops:
        for tensor in dict.fromkeys(op.inputs):
            if tensor is not None:
                table.setdefault(tensor, []).append(op)
    return table


def substitute(ops: Iterable[Op], replacement: Mapping[Tensor, Tensor]) -> tuple[Op, ...]:
    """`ops` with every input in `replacement` exchanged; chains are followed to their end."""

    def resolve(tensor):
        while tensor in replacement:
            tensor = replacement[tensor]
        return tensor

    return tuple(
        dataclasses.replace(op, inputs=tuple(map(resolve, op.inputs)))
        if any(tensor in replacement for tensor in op.inputs)
        else op
        for op in ops
    )
