"""Networks that learn on microcontrollers: a C program per model, and the C kernels that it calls.

`generate` writes the program; `to_safetensors` and `from_safetensors` carry what it learned to Python and back.
"""

from __future__ import annotations

import importlib

_LAZY = {
    "generate": "_generate",
    "MicroReport": "report",
    "HostProgram": "host",
    "copy_kernels": "_kernels_copy",
    "to_safetensors": "state",
    "from_safetensors": "state",
}
__all__ = sorted(_LAZY)


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
