"""Exports of one model share its lowering, which takes longer than most of what follows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from unittest import mock

from tflite_export import lowering


@contextlib.contextmanager
def lowered_once() -> Iterator[None]:
    """Inside, `tflite_export.export` lowers each model once per batch size. No weight may change between exports."""
    # The variables too: a lowered graph refers to them.
    names = ("trainable_variables", "lower", "stock_inference_file")
    cached = {name: functools.cache(getattr(lowering, name)) for name in names}
    with mock.patch.multiple(lowering, **cached):
        yield
