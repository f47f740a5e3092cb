"""The shapes that operators write, and the operands that no kernel takes."""

from tflite_export.shapes._infer_shapes import has_rule, infer_shapes
from tflite_export.shapes.operands import LARGEST, UnknownShape

__all__ = ["LARGEST", "UnknownShape", "has_rule", "infer_shapes"]
