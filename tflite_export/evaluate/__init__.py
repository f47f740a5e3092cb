"""A small numpy evaluator of `Graph`: the oracle that tests hold rules and passes against.

Every kernel is a plain sum or numpy call, written from the operator's definition and without regard to speed. None of
them shares code with a legalising pass, so agreement means something.
"""

from tflite_export.evaluate._evaluate import KERNELS, evaluate

__all__ = ["KERNELS", "evaluate"]
