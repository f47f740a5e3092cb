"""Operators that reduce along axes. The axes come as an int32 tensor, as in TFLite."""

from __future__ import annotations

import numpy as np


def _reduce(function):
    def kernel(op, x, axes):
        axes = tuple(int(axis) % x.ndim for axis in np.ravel(axes))
        return function(x, axis=tuple(dict.fromkeys(axes)), keepdims=bool(op.attributes.get("keep_dims", False)))

    return kernel


def _argument(function):
    return lambda op, x, axis: function(x, axis=int(np.ravel(axis)[0]))


KERNELS = {
    "SUM": _reduce(np.sum),
    "MEAN": _reduce(np.mean),
    "REDUCE_MAX": _reduce(np.max),
    "REDUCE_MIN": _reduce(np.min),
    "REDUCE_PROD": _reduce(np.prod),
    "REDUCE_ANY": _reduce(np.any),
    "REDUCE_ALL": _reduce(np.all),
    "ARG_MAX": _argument(np.argmax),
    "ARG_MIN": _argument(np.argmin),
}
