"""How much memory does a training step need, against plain inference?

Per method and kernel set, three files of one network at batch 1, each exported for and run with that kernel set:

* inference: what TensorFlow's own converter makes of the network;
* train: the exported file, cut down to its training signature;
* all: the exported file as it ships, of which the training signature is run.

"growth" is measured: VmHWM of a fresh process after a few runs minus its value before the file is loaded. "plan" is
the arena that tflite_export.arena computes, and "arena" LiteRT's own, from the addresses of its tensors (builtin
kernels only; XNNPACK keeps its tensors to itself). MB are 10^6 bytes.

For the default network the exit status is 1 if a bias step grows the process by more than the step of the first,
unoptimised prototype did.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import networks
from absl import app, flags
from files import signature_of, write_files
from fresh_process import growth
from litert import KERNELS, Session
from text_table import table
from tqdm import tqdm

from tflite_export import flatbuffer
from tflite_export.arena import plan

NETWORK = "MobileNetV2-1.0@224"
NAIVE_MEGABYTES = {"builtin": 38, "xnnpack": 82}  # growth of that prototype, method bias

FLAGS = flags.FLAGS
flags.DEFINE_string("network", NETWORK, "See benchmarks/networks.py.")
flags.DEFINE_list("methods", ["bias", "last"], "What trains.")
flags.DEFINE_list("kernels", list(KERNELS), "Kernel sets.")
flags.DEFINE_integer("processes", 3, "Processes per row; the median counts.", lower_bound=1)
flags.DEFINE_string("output", None, "File to which the rows are written as JSON.")


@dataclasses.dataclass(frozen=True)
class Row:
    """`arena_bytes` is None under XNNPACK; `ratio` is the growth over that of the inference file."""

    method: str
    kernels: str
    file: str
    growth_bytes: int
    file_bytes: int
    planned_bytes: int
    arena_bytes: int | None
    ratio: float


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    rows = []
    with tempfile.TemporaryDirectory() as folder, tqdm(total=3 * len(FLAGS.methods) * len(FLAGS.kernels)) as bar:
        for method in FLAGS.methods:
            model = networks.build(FLAGS.network, method)
            for kernels in FLAGS.kernels:
                inference_growth = None
                for name, path in write_files(model, kernels, Path(folder)).items():
                    row = measure(method, kernels, name, path, inference_growth)
                    inference_growth = inference_growth or row.growth_bytes
                    rows.append(row)
                    bar.update()
    print(f"\n{FLAGS.network}, batch 1, 1 thread\n\n{report(rows)}")
    if FLAGS.output:
        content = {"network": FLAGS.network, "rows": [dataclasses.asdict(row) for row in rows]}
        Path(FLAGS.output).write_text(json.dumps(content, indent=2) + "\n")
    if FLAGS.network != NETWORK:
        return 0
    worse = [row for row in rows if row.method == "bias" and row.growth_bytes > 1e6 * NAIVE_MEGABYTES[row.kernels]]
    print(f"\ngrowth of an unoptimised bias step: {', '.join(f'{k} {v} MB' for k, v in NAIVE_MEGABYTES.items())}")
    for row in worse:
        print(f"WORSE than that: {row.method} {row.kernels} {row.file}, {row.growth_bytes / 1e6:.1f} MB")
    return 1 if worse else 0


def measure(method: str, kernels: str, name: str, path: Path, inference_growth: int | None) -> Row:
    growths = [growth(path, kernels, signature_of(name)) for _ in range(FLAGS.processes)]
    median = int(statistics.median(growths))
    graphs = {graph.name: graph for graph in flatbuffer.read(path).signatures}
    graph = graphs.get("train") or next(iter(graphs.values()))
    return Row(
        method=method,
        kernels=kernels,
        file=name,
        growth_bytes=median,
        file_bytes=path.stat().st_size,
        planned_bytes=plan(graph).total_bytes,
        arena_bytes=address_extent(path) if kernels == "builtin" and len(graphs) == 1 else None,
        ratio=median / (inference_growth or median),
    )


def address_extent(path: Path) -> int:
    """Bytes between the lowest and the highest address of the activations of a file with one signature.

    Left out are tensors that LiteRT keeps elsewhere, because it computes them while it prepares, and scalars, of which
    the interpreter hands out copies.
    """
    (graph,) = flatbuffer.read(path).signatures
    placements = plan(graph).placements
    session = Session(str(path), "builtin")
    session.run(None, **session.random_inputs(None))
    index = {details["name"]: details["index"] for details in session.interpreter.get_tensor_details()}
    constant_results = {op.outputs[0] for op in graph.ops if op.inputs and all(t.is_constant for t in op.inputs if t)}
    extents = []
    for tensor in placements.keys() - constant_results:
        if tensor.shape == ():
            continue
        array = session.interpreter.tensor(index[tensor.name])()
        start = array.__array_interface__["data"][0]
        extents.append((start, start + array.nbytes))
    return max(end for _, end in extents) - min(start for start, _ in extents)


def report(rows: list[Row]) -> str:
    def megabytes(count):
        return "–" if count is None else f"{count / 1e6:.2f}"

    head = ("method", "kernels", "file", "growth MB", "ratio", "plan MB", "arena MB", "file MB")
    body = [
        (
            row.method,
            row.kernels,
            row.file,
            f"{row.growth_bytes / 1e6:.1f}",
            f"{row.ratio:.2f}",
            megabytes(row.planned_bytes),
            megabytes(row.arena_bytes),
            megabytes(row.file_bytes),
        )
        for row in rows
    ]
    return table(head, body, left=3)


if __name__ == "__main__":
    app.run(main)
