"""Lets several threads share one interpreter, in turn."""

from __future__ import annotations

import functools
from collections.abc import Callable


def exclusive(method: Callable) -> Callable:
    """A method during which no other thread runs another such method of the same object, by its `_lock`."""

    @functools.wraps(method)
    def locked(self, *args, **kwargs):
        with self._lock:
            return method(self, *args, **kwargs)

    return locked
