"""Compiles a Keras model, or a .tflite file that infers, into one .tflite that learns where it runs.

`tflite_export.runtime` runs such a file and needs neither TensorFlow nor Keras; names here are imported on first use.
"""

from __future__ import annotations

import importlib

_LAZY = {
    "export": "_export",
    "make_trainable": "_make_trainable",
    "merge": "_merge",
    "load_into": "_merge",
    "ExportReport": "report",
    "SGD": "optimizers",
    "Adam": "optimizers",
    "VerificationError": "verify",
    "NotDifferentiable": "autodiff",
    "BudgetTooSmall": "memory_budget",
}
__all__ = sorted(_LAZY)


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
