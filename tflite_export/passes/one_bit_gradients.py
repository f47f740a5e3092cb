"""`activation_gradients="one_bit"`: the gradient of hard-swish and swish as a step, after MobileTL.

Hung-Yueh Chiang et al., MobileTL: On-Device Transfer Learning with Inverted Residual Blocks (AAAI 2023), approximate
the backward pass of hard-swish by a signed function, so that one bit per element is kept instead of a float.
"""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Graph

ONE_BIT = {"HARD_SWISH": "HARD_SWISH_ONE_BIT", "SWISH": "SWISH_ONE_BIT"}


def approximate_gradients(graph: Graph) -> Graph:
    """A canonical forward graph of the same values, whose HARD_SWISH and SWISH are differentiated as RELU is."""
    return graph.replace(ops=tuple(dataclasses.replace(op, kind=ONE_BIT.get(op.kind, op.kind)) for op in graph.ops))
