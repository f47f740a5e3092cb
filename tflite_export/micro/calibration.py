"""What the float network's activations are on representative inputs: the ranges of their int8 scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.micro.kernels import Layout
from tflite_export.micro.raised import raised

Ranges = Mapping[Tensor, tuple[float, float]]


class Calibration:
    """Representative inputs, float32 [n, …], as the network takes them."""

    def __init__(self, images: np.ndarray):
        self.images = images
        self._known: dict[tuple, list[tuple[float, float]]] = {}

    def ranges(self, forward: Graph, layouts: Mapping[str, Layout]) -> Ranges:
        """The least and the largest value of every activation of a float graph of C operators.

        Graphs that differ in what trains alone have the same: each is computed once.
        """
        ops = [op for op in forward.ops if op.kind != "READ_VARIABLE" and len(op.outputs[0].shape) > 1]
        tensors = [*forward.inputs.values(), *(op.outputs[0] for op in ops)]
        key = tuple((op.kind, op.origin, op.outputs[0].shape) for op in ops)
        if key not in self._known:
            self._known[key] = self._computed(forward, layouts, tensors)
        return dict(zip(tensors, self._known[key], strict=True))

    def _computed(self, forward: Graph, layouts, tensors) -> list[tuple[float, float]]:
        graph, found = raised(forward, layouts)
        graph = graph.replace(outputs={str(i): found[t] for i, t in enumerate(tensors)})
        low, high = np.full(len(tensors), np.inf), np.full(len(tensors), -np.inf)
        for image in self.images:
            values = evaluate(graph, {"x": image[None]}, precision="float32")
            low = np.minimum(low, [values[str(i)].min() for i in range(len(tensors))])
            high = np.maximum(high, [values[str(i)].max() for i in range(len(tensors))])
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError("an activation of the network is not finite on the calibration samples; check the samples")
        return list(zip(low.tolist(), high.tolist()))


def calibration_of(samples, input_shape, pixels: tuple[float, float] | None) -> Calibration:
    """Checks what `generate` was given.

    Args:
        samples: [n, …]; bytes where `pixels` is given.
        input_shape: of one of them.
        pixels: factor and offset of a network that takes bytes.

    Raises:
        ValueError: they are no samples of the network's input.
    """
    kind = "uint8 pixels" if pixels is not None else "float32, as the network takes them"
    if samples is None:
        raise ValueError(
            "activations='int8' needs calibration=: some dozens of representative inputs, an array "
            f"[n, {', '.join(map(str, input_shape))}] of {kind}. Their activations give the scales"
        )
    samples = np.asarray(samples)
    if samples.shape[1:] != tuple(input_shape) or len(samples) == 0:
        raise ValueError(
            f"calibration must be inputs [n, {', '.join(map(str, input_shape))}] with n > 0, got {list(samples.shape)}"
        )
    if pixels is not None and samples.dtype != np.uint8:
        raise ValueError(f"calibration must be {kind}, as input_dtype='uint8' says, got {samples.dtype}")
    if pixels is None and (samples.dtype.kind != "f" or not np.isfinite(samples).all()):
        raise ValueError(f"calibration must be finite {kind}, got {samples.dtype}")
    images = samples.astype(np.float32)
    return Calibration(images if pixels is None else images * np.float32(pixels[0]) + np.float32(pixels[1]))
