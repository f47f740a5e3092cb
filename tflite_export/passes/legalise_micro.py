"""The form for TFLite Micro, whose operator set is smaller.

Today it is the builtin form: SELECT_V2, GREATER, LESS, LOGICAL_AND, DEPTH_TO_SPACE and dynamic biases exist there.
"""

from __future__ import annotations

from tflite_export.passes.legalise_builtin import legalise_builtin as legalise_micro

__all__ = ["legalise_micro"]
