"""What the float network's activations are on representative inputs: the ranges of their int8 scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.micro.forms import CONVOLUTIONS
from tflite_export.micro.kernels import Layout
from tflite_export.micro.raised import raised

Ranges = Mapping[Tensor, tuple[float, float]]


class Calibration:
    """Representative inputs, float32 [n, …], as the network takes them."""

    def __init__(self, images: np.ndarray):
        self.images = images
        self._known: dict[tuple, tuple[float, float]] = {}

    def ranges(self, forward: Graph, layouts: Mapping[str, Layout]) -> Ranges:
        """The least and the largest value of every activation of a float graph of C operators.

        What trains does not change them, and a branch that is left out adds nothing: whatever a budget tries, the first
        graph that is asked for, in which everything trains, has been all of it.
        """
        tensors = _activations(forward)
        if not all(place in self._known for place in tensors):
            self._known.update(zip(tensors, self._computed(forward, layouts, tuple(tensors.values())), strict=True))
        return {tensor: self._known[place] for place, tensor in tensors.items()}

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


def _activations(forward: Graph) -> dict[tuple, Tensor]:
    """By layer, what computes them, shape, and how many of a kind came before."""
    found: dict[tuple, Tensor] = {("x", name): x for name, x in forward.inputs.items()}
    counts: dict[tuple, int] = {}
    for op in forward.ops:
        (y,) = op.outputs
        if len(y.shape) > 1 and op.kind != "READ_VARIABLE":
            place = op.origin, "conv" if op.kind in CONVOLUTIONS else op.kind, y.shape
            found[*place, counts.get(place, 0)] = y
            counts[place] = counts.get(place, 0) + 1
    return found


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
    samples = _array(samples, input_shape)
    if samples.shape[1:] != tuple(input_shape) or len(samples) == 0:
        raise ValueError(
            f"calibration must be inputs [n, {', '.join(map(str, input_shape))}] with n > 0, got {list(samples.shape)}"
        )
    if pixels is not None and samples.dtype != np.uint8:
        raise ValueError(f"calibration must be {kind}, as input_dtype='uint8' says, got {samples.dtype}")
    with np.errstate(over="ignore"):
        images = samples.astype(np.float32)
    if pixels is None and samples.dtype.kind != "f":
        raise ValueError(f"calibration must be {kind}, got {samples.dtype}")
    if not np.isfinite(images).all():
        raise ValueError(f"calibration must be finite {kind}, got {images.min()} to {images.max()}")
    return Calibration(images if pixels is None else images * np.float32(pixels[0]) + np.float32(pixels[1]))


def _array(samples, input_shape) -> np.ndarray:
    """`samples`, where they are numbers in one array or nested lists."""
    try:
        array = np.asarray(samples)
    except ValueError:  # of parts of several shapes
        array = None
    if array is None or array.dtype.kind not in "biuf":
        raise ValueError(
            f"calibration must be an array [n, {', '.join(map(str, input_shape))}], got {type(samples).__name__}: "
            "put the inputs of a dataset together by np.stack, without their labels"
        )
    return array
