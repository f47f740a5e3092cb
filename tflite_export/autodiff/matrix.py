"""Matrix products."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule


@rule("MATMUL")
def _matmul(b, op, gradient, wanted):
    x, y = op.inputs
    adj_x, adj_y = op.attributes["adj_x"], op.attributes["adj_y"]
    dx = dy = None
    if wanted[0]:
        dx = b.matmul(y, gradient, adj_y, True) if adj_x else b.matmul(gradient, y, False, not adj_y)
    if wanted[1]:
        dy = b.matmul(gradient, x, True, adj_x) if adj_y else b.matmul(x, gradient, not adj_x, False)
    return dx, dy


@rule("BATCH_MATMUL")
def _batch_matmul(b, op, gradient, wanted):
    x, y = op.inputs
    adj_x, adj_y = op.attributes.get("adj_x", False), op.attributes.get("adj_y", False)
    dx = dy = None
    if wanted[0]:
        dx = b.batch_matmul(y, gradient, adj_y, True) if adj_x else b.batch_matmul(gradient, y, False, not adj_y)
        dx = b.sum_to(dx, x.shape)
    if wanted[1]:
        dy = b.batch_matmul(gradient, x, True, adj_x) if adj_y else b.batch_matmul(x, gradient, not adj_x, False)
        dy = b.sum_to(dy, y.shape)
    return dx, dy
