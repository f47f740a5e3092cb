"""What a figure was measured with."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = ("ai-edge-litert", "tensorflow", "keras", "numpy")


def versions() -> str:
    """Python, packages, system and processor, in one line."""
    packages = ", ".join(f"{package} {metadata.version(package)}" for package in _PACKAGES)
    return f"Python {platform.python_version()}, {packages}; {platform.system()} {platform.machine()}, {_processor()}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
