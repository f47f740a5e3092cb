"""What a program with int8 activations must compute: its integers in numpy, and gradients where they lead to.

Inference is simulated, operator by operator: where maps are int8, in integer arithmetic that is written here from
CMSIS-NN's definition, else in double precision by the evaluator.

A gradient passes straight through every rounding, and through an activation where its int8 output is neither the least
nor the largest that the activation lets through. That makes it the exact gradient of a float network: the same
operators, in double precision, with a constant behind each that moves what it gives to the number that the program has
there. `_Anchors` adds those constants as inputs; their values come from the simulation, anew for every x and state. So
the compiler's own rules, which central differences are held against, say what the program's gradients must be; nothing
of the C operators' rules, fusions and memory is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.from_tflite.numpy_reference import NumpyReference
from tflite_export.graph import Graph, Op, Tensor, Variable
from tflite_export.micro.forms import CONVOLUTIONS
from tflite_export.micro.int8_activations import quantised_bias
from tflite_export.micro.kernels import Layout
from tflite_export.micro.program import MicroProgram
from tflite_export.micro.raised import activated, before_activation, raised

_BLOCKED = -1.0  # a value that no rectifier lets through


def output_of(logits: np.ndarray, activation: str) -> np.ndarray:
    """[1, n]: what the model gives where the program gives logits, which its last activation is peeled off of."""
    logits = np.asarray(logits, np.float64).reshape(1, -1)
    if activation == "softmax":
        exponentials = np.exp(logits - logits.max())
        return exponentials / exponentials.sum()
    return 1 / (1 + np.exp(-logits)) if activation == "sigmoid" else logits


class Int8Reference(NumpyReference):
    """Of a program.

    Args:
        program: with int8 activations.
        images: float32 [n, …], what it is compared on.
    """

    def __init__(self, program: MicroProgram, images: np.ndarray):
        self.program, self.rows = program, images
        anchors = _Anchors()
        graph, _ = raised(program.forward, program.layouts, anchors.wrap)
        graph = graph.replace(inputs={**graph.inputs, **anchors.inputs})
        super().__init__(lambda rows: graph, program.description)

    def images(self, size: int) -> dict[str, np.ndarray]:
        """Calibration samples: elsewhere the scales would not fit. A little noise makes each another one."""
        rows = self.rows[self.random.integers(0, len(self.rows), size)]
        low, high = self.rows.min(), self.rows.max()
        noise = 0.05 * (high - low) * self.random.normal(size=rows.shape)
        x = np.clip(rows + noise, low, high)
        if self.program.train.inputs["x"].dtype == "uint8":
            scale, offset = np.float32(self.description.input_scale), np.float32(self.description.input_offset)
            x = np.clip(np.rint((x - offset) / scale), 0, 255).astype(np.float32) * scale + offset
        return {"x": x.astype(np.float32)}

    def infer(self, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"output": output_of(self.simulated(x).logits, self.description.output_activation)}

    def simulated(self, x: Mapping[str, np.ndarray], weights: Mapping[Variable, np.ndarray] | None = None):
        """The `Simulation` of inference on `x`, with `weights` in place of the initial ones."""
        by_name = {v.name: value for v, value in (weights or {}).items()}
        return Simulation(self.program.forward, self.program.layouts, x["x"], by_name)

    def given(self, x: Mapping[str, np.ndarray], weights: Mapping[Variable, np.ndarray]) -> dict[str, np.ndarray]:
        return {**x, **self.simulated(x, weights).anchors}


class _Anchors:
    """The inputs that hold a float graph at the numbers of an int8 one."""

    def __init__(self):
        self.inputs: dict[str, Tensor] = {}

    def wrap(self, b: Builder, op: Op, y: Tensor) -> Tensor:
        """``activation(y - before + inside) - behind + value``: before is y, and behind what the activation makes of
        inside, so the value is exact."""
        if op.outputs[0].dtype not in _STORED:
            return activated(b, op, y)
        before, inside, behind, value = (self._input(op, role, y) for role in _ROLES)
        passed = activated(b, op, b.add(b.sub(y, before), inside))
        return b.add(b.sub(passed, behind), value)

    def _input(self, op: Op, role: str, y: Tensor) -> Tensor:
        tensor = Tensor(f"{role}/{len(self.inputs) // len(_ROLES)}", y.shape)
        self.inputs[tensor.name] = tensor
        return tensor


_ROLES = ("before", "inside", "behind", "value")
_STORED = ("int8", "int32")


class Simulation:
    """Inference of a forward graph of C operators, int8 maps in integers.

    Args:
        forward: the graph.
        layouts: how it keeps its variables.
        x: what its first layer takes, as floats.
        weights: by name, as Keras keeps them; a variable that is absent has its initial value.

    Attributes:
        values: of every tensor: float64, or the stored integers.
        anchors: by the names of `_Anchors`, in the same order.
    """

    def __init__(self, forward: Graph, layouts: Mapping[str, Layout], x: np.ndarray, weights: Mapping[str, np.ndarray]):
        self.values: dict[Tensor, np.ndarray] = {forward.inputs["x"]: np.asarray(x, np.float64)}
        self.anchors: dict[str, np.ndarray] = {}
        for op in forward.ops:
            (y,) = op.outputs
            if op.kind == "READ_VARIABLE":
                self.values[y] = _stored(op.attributes["variable"], layouts, weights)
                continue
            self.values[y] = self._integers(op) if y.dtype in _STORED else self._floats(op)
            if y.dtype in _STORED:
                self._anchor(op)
        (logits,) = forward.outputs.values()
        self.logits = self.values[logits]

    def real(self, tensor: Tensor) -> np.ndarray:
        """What a tensor stands for."""
        stored = np.asarray(tensor.data if tensor.is_constant else self.values[tensor]).reshape(tensor.shape)
        if tensor.quantization is None:
            return stored.astype(np.float64)
        shape = [1] * len(tensor.shape)
        if len(tensor.quantization.scale) > 1:
            shape[tensor.quantization.axis] = -1
        scale = np.asarray(tensor.quantization.scale).reshape(shape)
        return (stored - np.asarray(tensor.quantization.zero_point).reshape(shape)) * scale

    def _floats(self, op: Op) -> np.ndarray:
        return _evaluated(op, [None if t is None else self.real(t) for t in op.inputs], activated)

    def _anchor(self, op: Op) -> None:
        (y,) = op.outputs
        q, value = self.values[y], self.real(y)
        before = _evaluated(op, [None if t is None else self.real(t) for t in op.inputs])
        inside, behind = np.zeros(y.shape), np.zeros(y.shape)
        activation = op.attributes.get("activation", "NONE")
        if activation != "NONE":
            low, high = _range(op)
            passes = (q > low) & (q < high)
            inside = np.where(passes, 1.0, _BLOCKED)
            behind = np.maximum(inside, 0)
        number = len(self.anchors) // len(_ROLES)
        values = before, inside, behind, value
        self.anchors.update({f"{role}/{number}": v.reshape(y.shape) for role, v in zip(_ROLES, values)})

    # Integers

    def _integers(self, op: Op) -> np.ndarray:
        if op.kind in CONVOLUTIONS:
            return self._convolution(op)
        if op.kind == "add":
            return self._add(op)
        if op.kind == "quantize_bias":
            scales = op.inputs[1].quantization.scale
            return quantised_bias(self.real(op.inputs[0]), scales, op.attributes["input_scale"])
        (y,), (zero_point,) = op.outputs, op.outputs[0].quantization.zero_point
        (scale,) = (np.float32(s) for s in y.quantization.scale)
        if op.kind == "pixels":
            return np.rint((self.real(op.inputs[0]) - op.attributes["offset"]) / op.attributes["multiplier"]) - 128
        if op.kind == "quantize":
            return _clipped(_half_away(np.float32(self.real(op.inputs[0])) / scale) + zero_point)
        if op.kind == "bilinear_add":
            return _clipped(_half_away(_evaluated(op, [self.real(t) for t in op.inputs]) / scale) + zero_point)
        q = self.values[op.inputs[0]]
        if op.kind == "average_pool":
            return _half_away(np.round(_evaluated(op, [q]) * 2**20) / 2**20)  # of ties that a division has blurred
        if op.kind == "max_pool":
            return np.rint(_evaluated(op, [q]))
        low, high = _range(op)
        return np.clip(q, low, high)

    def _convolution(self, op: Op) -> np.ndarray:
        x, kernel, bias = op.inputs
        (y,) = op.outputs
        centred = self.values[x] - np.float64(x.quantization.zero_point[0])
        sums = _evaluated(op, [centred, np.asarray(kernel.data, np.float64), None])  # exact: below 2^53
        sums = np.rint(sums).astype(np.int64)
        if bias is not None:
            sums = sums + np.asarray(bias.data if bias.is_constant else self.values[bias], np.int64).ravel()
        factors = np.float64(x.quantization.scale[0]) * np.asarray(kernel.quantization.scale) / y.quantization.scale[0]
        low, high = _range(op)
        return np.clip(_rescaled(sums, factors) + y.quantization.zero_point[0], low, high)

    def _add(self, op: Op) -> np.ndarray:
        """TFLite's: both are lifted to twice the larger scale with 20 bits more."""
        (y,) = op.outputs
        common = 2 * max(t.quantization.scale[0] for t in op.inputs)
        total = 0
        for t in op.inputs:
            centred = (self.values[t].astype(np.int64) - t.quantization.zero_point[0]) << 20
            total = total + _rescaled(centred, np.float64(t.quantization.scale[0] / common))
        scaled = _rescaled(total, np.float64(common / (2**20 * y.quantization.scale[0])))
        return _clipped(scaled + y.quantization.zero_point[0])


def _stored(variable: Variable, layouts: Mapping[str, Layout], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """A variable's value in the program's layout."""
    if variable.name not in weights:
        return np.asarray(variable.initial, np.float64)
    layout = layouts[variable.name]
    value = np.asarray(weights[variable.name], np.float64).reshape(layout.shape)
    return np.transpose(value, layout.permutation).reshape(variable.shape)


def _evaluated(op: Op, operands, wrap=None) -> np.ndarray:
    """`op` of these arrays, in double precision; before its activation without `wrap`."""
    b = Builder()
    tensors = [None if v is None else Tensor(f"x{i}", np.shape(v)) for i, v in enumerate(operands)]
    y = before_activation(b, op, tensors)
    y = y if wrap is None else wrap(b, op, y)
    inputs = {t.name: t for t in tensors if t is not None}
    given = {f"x{i}": v for i, v in enumerate(operands) if v is not None}
    if not b.ops:
        return given[y.name]
    return evaluate(Graph(op.kind, inputs, {"y": y}, tuple(b.ops)), given)["y"]


def _rescaled(values: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """int64 times a factor of the last axis in CMSIS-NN's arithmetic: the factor as a number of 31 bits and a power of
    two; the high word of twice the product, half up; then the power, half away from zero."""
    fraction, exponent = np.frexp(factor)
    multiplier = np.floor(fraction * 2**31 + 0.5).astype(np.int64)
    left = np.maximum(exponent, 0)
    high = ((values << left) * multiplier + 2**30) >> 31
    divisor = np.int64(1) << np.minimum(left - exponent, 61)  # which leaves nothing of 31 bits
    return np.sign(high) * ((2 * np.abs(high) + divisor) // (2 * divisor))


def _half_away(values: np.ndarray) -> np.ndarray:
    return np.trunc(values + np.copysign(0.5, values))


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -128, 127)


def _range(op: Op) -> tuple[int, int]:
    """Of the activation: from 0, and for RELU6 to 6."""
    (scale,), (zero_point,) = op.outputs[0].quantization.scale, op.outputs[0].quantization.zero_point
    activation = op.attributes.get("activation", "NONE")
    high = 127
    if activation == "RELU6" and scale > 6 / 256:
        high = min(127, zero_point + int(_half_away(np.float32(6) / np.float32(scale))))
    return (-128 if activation == "NONE" else zero_point), high
