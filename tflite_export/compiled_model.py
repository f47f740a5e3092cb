"""A model compiled for training, before it is a file."""

from __future__ import annotations

import dataclasses

from tflite_export import checksum, flatbuffer, micro_program
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Program, Variable
from tflite_export.passes.small_constants import with_small_constants
from tflite_export.runtime.info import Description


@dataclasses.dataclass(frozen=True, eq=False)
class CompiledModel:
    """What `export` writes.

    Attributes:
        program: the compiled signatures, in the order of the file.
        description: the content of the ``info`` signature.
        trainables: the variables that train, at the model's present values.
        options: what it was compiled with, in final form.
        constants: "float32", or what the file stores frozen kernels as: "int8" or "float16" (`passes.small_constants`).
    """

    program: Program
    description: Description
    trainables: tuple[Variable, ...]
    options: ExportOptions
    constants: str = "float32"

    @property
    def training(self) -> tuple[Graph, ...]:
        """The signatures of a training step: ``train``, or ``accumulate`` and ``apply``, or TFLite Micro's entry."""
        names = ("train", "accumulate", "apply", micro_program.ENTRY)
        return tuple(graph for graph in self.program.signatures if graph.name in names)

    @property
    def stored(self) -> Program:
        """The program with its constants as the file has them."""
        return self.program if self.constants == "float32" else with_small_constants(self.program, self.constants)

    def to_bytes(self) -> bytes:
        """The .tflite file, sealed with its checksum."""
        program = self.stored.with_metadata(tinytl=self.description.to_json(), **checksum.METADATA)
        return checksum.seal(flatbuffer.write(program))
