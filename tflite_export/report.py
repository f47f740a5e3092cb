"""What an export wrote, as data and as a table."""

from __future__ import annotations

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

from tflite_export.arena import plan
from tflite_export.compiled_model import CompiledModel
from tflite_export.verify import Verification

_ONE_BIT = "approximated by one bit for hard-swish and swish, in Keras too"


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """The outcome of `export`.

    Attributes:
        path: the file.
        max_difference: the largest ||update - Keras's update|| / ||Keras's update|| of any variable in verification,
            over both kernel sets of LiteRT, and with the same activation_gradients in Keras; None where verification
            was switched off.
        train_arena_bytes: activations of one training step in LiteRT with the builtin kernels, with micro-batches those
            of ``accumulate`` and ``apply`` together; for TFLite Micro those of the whole entry (the head of its arena;
            variables and the interpreter's own data lie at the tail).
        infer_arena_bytes: the same for the stock converter's inference file of the model, on as many rows as training
            has in the network at once.
        file_bytes: size of the file.
        trainable_names: every variable that trains.
        unmoved_names: those of which verification could not tell anything, because Keras did not move them either on
            random input (a dead ReLU behind them).
        trainable_bytes: their size.
        activation_gradients: "exact", or "one_bit" where those of hard-swish and swish are approximated.
        ops: per signature, and per branch of TFLite Micro's entry, how often each operator stands in it.
    """

    path: pathlib.Path
    max_difference: float | None
    train_arena_bytes: int
    infer_arena_bytes: int
    file_bytes: int
    trainable_names: Sequence[str]
    unmoved_names: Sequence[str]
    trainable_bytes: int
    activation_gradients: str
    ops: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(
        cls,
        path: str | pathlib.Path,
        content: bytes,
        compiled: CompiledModel,
        infer_arena_bytes: int,
        verification: Verification | None,
    ) -> ExportReport:
        program, runtime = compiled.program, compiled.options.runtime
        graphs = [graph for entry in program.signatures for graph in (entry, *entry.branches)]
        return cls(
            path=pathlib.Path(path),
            max_difference=None if verification is None else verification.max_difference,
            unmoved_names=() if verification is None else verification.unmoved,
            train_arena_bytes=sum(plan(graph, runtime, program.offsets).total_bytes for graph in compiled.training),
            infer_arena_bytes=infer_arena_bytes,
            file_bytes=len(content),
            trainable_names=tuple(v.name for v in compiled.trainables),
            trainable_bytes=sum(v.initial.nbytes for v in compiled.trainables),
            activation_gradients=compiled.options.activation_gradients,
            ops={graph.name: dict(Counter(op.kind for op in graph.ops)) for graph in graphs},
        )

    def __str__(self) -> str:
        ratio = self.train_arena_bytes / max(1, self.infer_arena_bytes)
        verified = (
            "not verified" if self.max_difference is None else f"{self.max_difference:.1e} of its length, at most"
        )
        rows = [
            ("file", f"{self.path} ({_megabytes(self.file_bytes)})"),
            ("trains", f"{len(self.trainable_names)} variables ({_megabytes(self.trainable_bytes)})"),
            ("arena, training step", f"{_megabytes(self.train_arena_bytes)} ({ratio:.2f} x inference)"),
            ("arena, stock inference", _megabytes(self.infer_arena_bytes)),
            ("update's distance to Keras's", verified),
            *([("activation gradients", _ONE_BIT)] if self.activation_gradients == "one_bit" else []),
            *([("not told by it", _few(self.unmoved_names))] if self.unmoved_names else []),
            ("operators", ", ".join(f"{name} {sum(ops.values())}" for name, ops in self.ops.items() if ops)),
        ]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} (no gradient on random input)"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e4 else f"{count} B"
