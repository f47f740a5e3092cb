"""Keeps Ctrl-C out of the middle of a training step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delivers SIGINT, SIGTERM and SIGHUP, where Python handles them, at the end of the block.

    Python runs a handler as soon as native code returns. A KeyboardInterrupt would come just after LiteRT has changed
    the variables and before the step is counted, and a resumed fit would take that step twice. Outside the main thread,
    which alone gets signals, nothing is to be done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda *arguments: arrived.append(arguments))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in arrived:
        handlers[number](number, frame)
