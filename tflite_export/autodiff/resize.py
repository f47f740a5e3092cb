"""Bilinear resizing is linear and separable: its gradient is a product with a constant matrix along each axis."""

from __future__ import annotations

import numpy as np

from tflite_export.autodiff.registry import rule
from tflite_export.builder import constant


@rule("RESIZE_BILINEAR")
def _resize_bilinear(b, op, gradient, wanted):
    n, height, width, channels = op.inputs[0].shape
    _, rows, columns, _ = gradient.shape
    half_pixel, corners = op.attributes.get("half_pixel_centers", False), op.attributes.get("align_corners", False)
    by_rows = constant(interpolation(height, rows, half_pixel, corners).T)
    by_columns = constant(interpolation(width, columns, half_pixel, corners).T)
    x = b.batch_matmul(by_rows, b.reshape(gradient, (n, rows, columns * channels)))
    x = b.batch_matmul(by_columns, b.reshape(x, (n * height, columns, channels)))
    return b.reshape(x, op.inputs[0].shape), None


def interpolation(size: int, out: int, half_pixel_centers: bool, align_corners: bool) -> np.ndarray:
    """[out, size]: the weights with which bilinear resizing sums an axis of `size` into one of `out`.

    Source: TFLite's kernels/internal/reference/resize_bilinear.h (ComputeInterpolationValues).
    """
    scale = (size - 1) / (out - 1) if align_corners and out > 1 else size / out
    position = np.arange(out)
    position = (position + 0.5) * scale - 0.5 if half_pixel_centers else position * scale
    floor = np.floor(position)
    lower = np.maximum(floor, 0).astype(int)
    upper = np.minimum(floor + 1, size - 1).astype(int)
    weights = np.zeros((out, size))
    np.add.at(weights, (np.arange(out), lower), 1 - (position - lower))
    np.add.at(weights, (np.arange(out), upper), position - lower)
    return weights
