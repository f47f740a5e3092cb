"""What a file may hold to be made trainable."""

from tflite_export.autodiff import RULES
from tflite_export.evaluate import KERNELS
from tflite_export.graph import CANONICAL
from tflite_export.passes.canonical import _RULES
from tflite_export.shapes import has_rule


def test_every_operator_with_a_gradient_is_taken():
    """`read_inference_file` refuses what the evaluator or the shapes do not know, whatever can be differentiated."""
    differentiable = {*RULES, *_RULES}
    assert differentiable <= KERNELS.keys()
    assert all(has_rule(kind) for kind in differentiable - CANONICAL.keys())
