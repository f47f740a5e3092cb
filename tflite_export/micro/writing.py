"""The files of a program."""

from __future__ import annotations

import pathlib

from tflite_export.atomic import write_atomically
from tflite_export.micro.header import header
from tflite_export.micro.program import MicroProgram
from tflite_export.micro.source import source
from tflite_export.micro.state import write_manifest


def write_program(program: MicroProgram, folder: pathlib.Path) -> None:
    """Writes ``<name>.h``, ``<name>.json`` and ``<name>.c``."""
    write_atomically(folder / f"{program.name}.h", header(program).encode())
    write_manifest(program, folder / f"{program.name}.json")
    write_atomically(folder / f"{program.name}.c", source(program).encode())
