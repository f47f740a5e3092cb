"""The files that memory and speed are measured on."""

from __future__ import annotations

from pathlib import Path

import tflite_export
from tflite_export import flatbuffer, lowering
from tflite_export.graph import Program


def write_files(model, kernels: str, folder: Path) -> dict[str, Path]:
    """Writes what is compared, by name: "inference" (the stock converter's), "train" (alone), "all" (every signature).

    Batch 1. `model` is a converted Keras model; the stock converter's file is made of the same one.
    """
    paths = {name: folder / f"{name}_{kernels}.tflite" for name in ("inference", "train", "all")}
    paths["inference"].write_bytes(lowering.stock_inference_file(model))
    tflite_export.export(model, paths["all"], kernels=kernels, verify=False)
    paths["train"].write_bytes(only(paths["all"], "train"))
    return paths


def only(path: Path, signature: str) -> bytes:
    """The file at `path` without its other signatures."""
    program = flatbuffer.read(path)
    graphs = tuple(graph for graph in program.signatures if graph.name == signature)
    return flatbuffer.write(Program(graphs, program.metadata))


def signature_of(name: str) -> str | None:
    """Which signature of the file `name` is measured; None: its only one."""
    return None if name == "inference" else "train"
