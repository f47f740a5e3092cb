"""How much memory does a training step need, against plain inference and against other frameworks?

Every row is a network, a method and the options of one export; SGD. The very file that `export` writes is measured,
beside the file that TensorFlow's own converter makes of the same network for inference:

* plan: the arena that tflite_export.arena computes for the training step; with micro-batches those of `accumulate`
  and `apply` together. "ratio" is to that of the inference file, on the rows that are in the network at once.
* LiteRT: the same arenas as LiteRT lays them out, from the addresses of its tensors (builtin kernels only; XNNPACK
  keeps its tensors to itself).
* growth: VmHWM of a fresh process after three training steps minus its value once the runtime is imported and the
  inputs are made. It holds the arena, the pages of the file that are touched, and all that the runtime allocates.
  "inference" is the same for the inference file, at the same number of rows.

MB are 10^6 bytes. The exit status is 1 if a row misses its mark (memory_rows.py) or is refused. An export of a network
with lite residual branches takes half a minute, one under a budget some minutes: choose rows with --filter.

A peer takes the same step of the same network, in a fresh process too, from the moment when it is imported. TensorFlow
trains the Keras model. PyTorch and ONNX Runtime train the folded network (peer_network.py), by bias or full; they need
packages that this project does not, in any Python:

    python3.11 -m venv out/peers && out/peers/bin/pip install torch onnxruntime-training==1.19.2 onnx==1.17.0 cerberus
    python benchmarks/memory.py --filter=bias --peer=torch,onnxruntime-training --peer_python=out/peers/bin/python
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import peers
from absl import app, flags
from fresh_process import growth
from litert import Session
from lowered_once import lowered_once
from memory_rows import ROWS, Row
from text_table import table
from tqdm import tqdm
from versions import versions

from tflite_export import flatbuffer
from tflite_export.arena import plan

FLAGS = flags.FLAGS
flags.DEFINE_string("filter", "", "Only rows that hold every one of these words, as in 'MobileNetV2 bias batch=1'.")
flags.DEFINE_bool("list", False, "Print the names of the rows, and measure nothing.")
flags.DEFINE_integer("processes", 3, "Processes per figure; the median counts.", lower_bound=1)
flags.DEFINE_list("peer", ["tensorflow"], f"Peers beside the rows: {', '.join(peers.PEERS)}; empty for none.")
flags.DEFINE_string("peer_python", None, "The Python that torch or onnxruntime-training is installed in.")
flags.DEFINE_string("output", None, "JSON file that finished rows are added to.")


@dataclasses.dataclass(frozen=True)
class Measured:
    """Bytes; `arena_bytes` is None under XNNPACK. `options` are those of the export."""

    planned_bytes: int
    inference_planned_bytes: int
    arena_bytes: int | None
    growth_bytes: int
    inference_growth_bytes: int
    file_bytes: int
    options: dict

    @property
    def ratio(self) -> float:
        return self.planned_bytes / self.inference_planned_bytes


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    rows = [row for row in ROWS if set(FLAGS.filter.split()) <= words_of(row)]
    if FLAGS.list or not rows:
        print("\n".join(f"--filter='{row.setting}'" for row in rows or ROWS))
        return 0 if rows else 1
    measured, refused, peer_rows = {}, {}, []
    with tempfile.TemporaryDirectory() as folder, lowered_once():
        for row in tqdm(rows, desc="rows"):
            try:
                measured[row] = measure(row, Path(folder))
            except ValueError as error:
                refused[row] = str(error)
            keep(row, measured.get(row), refused.get(row))
        peer_settings = {(s.network, s.method, s.batch_size): s for s in (row.setting for row in rows)}
        for peer, setting in itertools.product(FLAGS.peer, peer_settings.values()):
            peer_rows.append(peer_row(peer, setting, Path(folder)))
    print(f"\n{versions()}\n")
    for network in dict.fromkeys(row.setting.network for row in rows):
        group = [row for row in rows if row.setting.network == network]
        print(f"{network}, {group[0].setting.classes} classes, SGD, 1 thread\n")
        print(report([(row, measured[row]) for row in group if row in measured]), "\n")
    for row, found in measured.items():
        print(f"{row.setting}: export({', '.join(f'{k}={v!r}' for k, v in found.options.items())})")
    for row, error in refused.items():
        print(f"{row.setting} is REFUSED: {error}")
    if peer_rows:
        print(f"\n{table(('peer', 'network', 'method', 'batch', 'growth MB'), peer_rows, left=3)}")
    return 1 if refused or any(missed(row, found) for row, found in measured.items()) else 0


def words_of(row: Row) -> set[str]:
    """The words of its name, and of a network's name its beginning."""
    words = str(row.setting).split()
    return {*words, words[0].partition("@")[0], words[0].partition("-")[0]}


def measure(row: Row, folder: Path) -> Measured:
    """Raises ValueError if the export is refused."""
    setting = row.setting
    path = folder / "trainable.tflite"
    report, options = setting.export(path)
    stock = setting.stock_file(folder, setting.batch_size)
    return Measured(
        planned_bytes=report.train_arena_bytes,
        inference_planned_bytes=report.infer_arena_bytes,
        arena_bytes=sum(arena_extent(path, s) for s in setting.step) if setting.kernels == "builtin" else None,
        growth_bytes=median_growth(path, setting.kernels, setting.step),
        inference_growth_bytes=median_growth(stock, setting.kernels, None),
        file_bytes=path.stat().st_size,
        options=options,
    )


def median_growth(path: Path, kernels: str, signatures) -> int:
    return int(statistics.median(growth(path, kernels, signatures) for _ in range(FLAGS.processes)))


def arena_extent(path: Path, signature: str) -> int:
    """Bytes between the lowest and the highest address of the activations of `signature`, after a run.

    Left out are tensors that LiteRT keeps elsewhere, because it computes them while it prepares, and scalars, of which
    the interpreter hands out copies.
    """
    graph = next(graph for graph in flatbuffer.read(path).signatures if graph.name == signature)
    prepared = {t for op in graph.ops if op.inputs and all(t.is_constant for t in op.inputs if t) for t in op.outputs}
    session = Session(str(path), "builtin")
    session.run(signature, **session.random_inputs(signature))
    tensors = [tensor for tensor in plan(graph).placements.keys() - prepared if tensor.shape]
    extents = session.addresses(signature, [tensor.name for tensor in tensors])
    return max(end for _, end in extents) - min(start for start, _ in extents)


def missed(row: Row, found: Measured) -> list[str]:
    """The marks that it misses."""
    misses = []
    if row.ratio_mark and found.ratio > row.ratio_mark:
        misses.append("ratio")
    if row.growth_mark and found.growth_bytes > 1e6 * row.growth_mark:
        misses.append("growth")
    return misses


def keep(row: Row, found: Measured | None, error: str | None) -> None:
    """Adds the row to --output."""
    if FLAGS.output:
        path = Path(FLAGS.output)
        rows = json.loads(path.read_text()) if path.exists() else {}
        rows[str(row.setting)] = {"refused": error} if found is None else dataclasses.asdict(found)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n")


def report(rows: list[tuple[Row, Measured]]) -> str:
    def megabytes(count):
        return "–" if count is None else f"{count / 1e6:.2f}"

    head = ("method", "kernels", "batch", "budget", "plan MB", "LiteRT MB", "ratio", "growth", "inference", "mark", "")
    body = []
    for row, found in rows:
        mark = f"ratio {row.ratio_mark}" if row.ratio_mark else f"{row.growth_mark} MB" if row.growth_mark else ""
        body.append(
            (
                row.setting.method,
                row.setting.kernels,
                row.setting.batch_label,
                str(row.setting.budget or "–"),
                megabytes(found.planned_bytes),
                megabytes(found.arena_bytes),
                f"{found.ratio:.2f}",
                f"{found.growth_bytes / 1e6:.1f}",
                f"{found.inference_growth_bytes / 1e6:.1f}",
                mark,
                "" if not mark else "MISSED" if missed(row, found) else "met",
            )
        )
    return table(head, body, left=4)


def peer_row(peer: str, setting, folder: Path) -> tuple[str, ...]:
    """Its growth in MB, or why there is none."""
    try:
        growths = [peers.growth(peer, setting, folder, FLAGS.peer_python) for _ in range(FLAGS.processes)]
        found = f"{statistics.median(growths) / 1e6:.1f}"
    except peers.Unavailable as error:
        found = str(error)
    return peer, setting.network, setting.method, str(setting.batch_size), found


if __name__ == "__main__":
    app.run(main)
