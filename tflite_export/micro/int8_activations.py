"""Which activations are int8: a pass over the forward graph, before it is differentiated.

What runs in int8 is every map that operators with a kernel for it hand on to one another: convolutions with frozen
kernels, whether their biases train or not, sums, pools, rectifiers. It does not matter whether training reaches back
through them: a gradient passes straight through the rounding, in float32, and needs of a layer its kernel and one bit
an element. What a kernel that trains reads, dense layers, GroupNormalization and bilinear resizing stay float; a map
is converted where it crosses the border. A single convolution between float maps stays float too: it would be
converted twice and save nothing. So do layers whose sums may be more than an int32 holds.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.graph import Graph, Op, Quantization, Tensor, consumers, producers
from tflite_export.micro.calibration import Ranges
from tflite_export.micro.forms import CONVOLUTIONS, image, taps
from tflite_export.micro.quantize import as_int8, dequantised
from tflite_export.micro.requantization import STEPS, quantization_of

_SAME_SCALE = ("average_pool", "max_pool", "rectify")  # what they write has the scale of what they read
_LARGEST_BIAS = 2.0**29  # tinytl_quantize_bias's
_MOST_PRODUCTS = 33_000  # of a sum that stays below 2^30 (tinytl/quantized.h)


def with_int8_activations(forward: Graph, ranges: Ranges) -> Graph:
    """`forward`, with frozen kernels in int8 already, with int8 maps.

    Args:
        ranges: of its float activations.
    """
    return _Pass(forward, ranges).result()


def int8_operators(graph: Graph) -> tuple[Op, ...]:
    """The layers that write int8 maps, conversions left out."""
    return tuple(op for op in graph.ops if op.outputs and op.outputs[0].dtype == "int8" and op.kind not in _BORDERS)


_BORDERS = ("quantize", "pixels")


class _Pass:
    def __init__(self, forward: Graph, ranges: Ranges):
        self.forward, self.ranges = forward, ranges
        self.table, self.readers = producers(forward.ops), consumers(forward.ops)
        self.chosen = _islands(forward, self.table, ranges)
        self.ops: list[Op] = []
        self.int8: dict[Tensor, Tensor] = {}  # by float tensor: what it has become

    def result(self) -> Graph:
        ends = {self._end_of_branch(op) for op in self.forward.ops if op in self.chosen and op.kind == "add"}
        for op in self.forward.ops:
            if op in ends:
                continue
            if op in self.chosen and op.kind != "mean":
                self._int8(op)
            else:
                reads_int8 = op.kind == "mean" and op in self.chosen
                inputs = (self._as_int8(t) if reads_int8 else self._as_float(t) for t in op.inputs)
                self.ops.append(dataclasses.replace(op, inputs=tuple(inputs)))
        outputs = {name: self._as_float(t) for name, t in self.forward.outputs.items()}
        return self.forward.replace(ops=tuple(self.ops), outputs=outputs)

    def _int8(self, op: Op) -> None:
        (y,) = op.outputs
        if op.kind in CONVOLUTIONS:
            inputs, quantization = self._layer(op)
        elif op.kind == "add" and (branch := self._end_of_branch(op)) is not None:
            (total,) = (t for t in op.inputs if t is not branch.outputs[0])
            inputs = (self._as_float(branch.inputs[0]), self._as_int8(total))
            op = dataclasses.replace(op, kind="bilinear_add", attributes=branch.attributes)
            quantization = quantization_of(*self._range(y))
        elif op.kind == "pixels":
            inputs, quantization = op.inputs, _of_pixels(op)
        else:
            inputs = tuple(self._as_int8(t) for t in op.inputs)
            same = op.kind in _SAME_SCALE
            quantization = inputs[0].quantization if same else quantization_of(*self._range(y))
        self.int8[y] = Tensor(y.name, y.shape, "int8", None, quantization)
        self.ops.append(dataclasses.replace(op, inputs=inputs, outputs=(self.int8[y],)))

    def _layer(self, op: Op) -> tuple[tuple[Tensor | None, ...], Quantization]:
        """The inputs of a convolution, and what its output's numbers stand for."""
        x = self._as_int8(op.inputs[0])
        (input_scale,) = x.quantization.scale
        quantization = quantization_of(*self._range(op.outputs[0]), _least_scale(op, input_scale))
        kernel = _kernel_for(op, input_scale, quantization.scale[0])
        return (x, kernel, self._bias(op, kernel, input_scale)), quantization

    def _range(self, y: Tensor) -> tuple[float, float]:
        """Where a rectifier alone reads `y`, only what it lets through counts."""
        readers = self.readers.get(y, ())
        if [op.kind for op in readers] == ["rectify"] and readers[0] in self.chosen:
            return self.ranges[readers[0].outputs[0]]
        return self.ranges[y]

    def _end_of_branch(self, add: Op) -> Op | None:
        """The bilinear resizing that `add` alone reads."""
        for tensor, other in (add.inputs, add.inputs[::-1]):
            before = self.table.get(tensor)
            if before is not None and before.kind == "bilinear" and self.readers[tensor] == [add] and other != tensor:
                return before
        return None

    def _as_int8(self, tensor: Tensor) -> Tensor:
        if tensor not in self.int8:
            y = Tensor(f"{tensor.name}/int8", tensor.shape, "int8", None, quantization_of(*self.ranges[tensor]))
            self.ops.append(Op("quantize", (tensor,), (y,), {}, tensor.name))
            self.int8[tensor] = y
        return self.int8[tensor]

    def _as_float(self, tensor: Tensor | None) -> Tensor | None:
        """For one reader: nobody keeps a float map from one to the next."""
        maker = self.table.get(tensor)
        if maker is None or maker not in self.chosen or maker.kind == "mean":
            return tensor
        x = self.int8[tensor]
        y = Tensor(f"{tensor.name}/float", tensor.shape)
        self.ops.append(Op("dequantize", (x,), (y,), {}, tensor.name))
        return y

    def _bias(self, op: Op, kernel: Tensor, scale: float) -> Tensor | None:
        bias = op.inputs[2]
        if bias is None:
            return None
        if bias.is_constant:
            data = quantised_bias(bias.data, kernel.quantization.scale, scale)
            return Tensor(f"{bias.name}/int32", bias.shape, "int32", data, _steps_of_bias(kernel, scale))
        quantised = Tensor(f"{bias.name}/int32", bias.shape, "int32", None, _steps_of_bias(kernel, scale))
        attributes = {"input_scale": scale}
        self.ops.append(Op("quantize_bias", (bias, kernel), (quantised,), attributes, op.origin))
        return quantised


def quantised_bias(bias: np.ndarray, kernel_scale, input_scale: float) -> np.ndarray:
    """int32, in float32's arithmetic: tinytl_quantize_bias's."""
    steps = np.float32(input_scale) * np.asarray(kernel_scale, np.float32)
    value = np.asarray(bias, np.float32).ravel() / steps
    rounded = np.trunc(value + np.copysign(np.float32(0.5), value))
    return np.clip(rounded, -_LARGEST_BIAS, _LARGEST_BIAS).astype(np.int32)


def _steps_of_bias(kernel: Tensor, scale: float) -> Quantization:
    steps = np.float32(scale) * np.asarray(kernel.quantization.scale, np.float32)
    return Quantization(tuple(map(float, steps)), (0,) * len(steps))


def _least_scale(op: Op, input_scale: float) -> float:
    """Of the output of a layer: the largest sum that any picture can give is 2^29 steps of it. What is smaller is
    rounding noise of such sums; requantisation would shift them out of their int32."""
    kernel, bias = op.inputs[1:3]
    channels = np.moveaxis(dequantised(kernel).data, kernel.quantization.axis, 0)
    largest = STEPS * input_scale * np.abs(channels.reshape(len(channels), -1)).sum(axis=1, dtype=np.float64).max()
    if bias is not None and bias.is_constant:
        largest += np.abs(bias.data).max()
    return float(largest / _LARGEST_BIAS)


def _kernel_for(op: Op, input_scale: float, output_scale: float) -> Tensor:
    """The kernel of `op`, in steps large enough for its bias to be an int32 of them, which those of a channel whose
    weights are next to nothing are not; and as small as that allows where there are no weights.

    A bias that trains may go as far as the layer's outputs: there they saturate."""
    kernel, bias = op.inputs[1:3]
    if bias is None:
        return kernel
    largest = np.abs(bias.data.ravel()) if bias.is_constant else STEPS * output_scale
    least = np.broadcast_to(largest / (_LARGEST_BIAS / 2 * input_scale), bias.shape[-1:])
    scales = np.asarray(kernel.quantization.scale, np.float32)
    channels = np.moveaxis(kernel.data, kernel.quantization.axis, 0)
    if (scales >= least).all() and channels.reshape(len(channels), -1).any(axis=1).all():
        return kernel
    return as_int8(dequantised(kernel), kernel.quantization.axis, least)


def _of_pixels(op: Op) -> Quantization:
    """Of bytes minus 128, which stand for ``byte * multiplier + offset``."""
    multiplier, offset = op.attributes["multiplier"], op.attributes["offset"]
    return Quantization((float(np.float32(multiplier)),), (round(-128 - offset / multiplier),))


def _islands(forward: Graph, table, ranges: Ranges) -> frozenset[Op]:
    """The operators that run in int8: such as hand maps on to one another, with two convolutions among them."""
    island: dict[Op, int] = {}
    for i, op in enumerate(forward.ops):
        makers = [table[t] for t in op.inputs if t in table and table[t] in island and table[t].kind != "mean"]
        if not _runs_in_int8(op, makers, ranges):
            continue
        island[op] = i
        for maker in makers:
            old, new = island[maker], island[op]
            island.update((other, new) for other, number in island.items() if number == old)
    counts: dict[int, int] = {}
    for op, number in island.items():
        counts[number] = counts.get(number, 0) + (op.kind in CONVOLUTIONS)
    return frozenset(op for op, number in island.items() if counts[number] > 1)


def _runs_in_int8(op: Op, makers, ranges: Ranges) -> bool:
    maps = [t for t in (*op.inputs[:1], *op.outputs[:1]) if t is not None]
    if len(maps) < 2 or not all(len(t.shape) == 4 for t in maps[: 1 if op.kind == "mean" else 2]):
        return False
    if op.kind in CONVOLUTIONS:
        return op.inputs[1].is_constant and image(op.inputs[0])[:2] != (1, 1) and taps(op) <= _MOST_PRODUCTS
    if op.kind == "pixels":
        multiplier, offset = op.attributes["multiplier"], op.attributes["offset"]
        return multiplier > 0 and -128 <= round(-128 - offset / multiplier) <= 127
    if op.kind == "add" and not all(t in ranges for t in op.inputs):
        return False  # one is a constant or a variable
    return op.kind in (*_SAME_SCALE, "add", "mean") and bool(makers)
