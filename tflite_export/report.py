"""What an export wrote, as data and as a table."""

from __future__ import annotations

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

from tflite_export.arena import plan
from tflite_export.compiled_model import CompiledModel
from tflite_export.graph import Program
from tflite_export.memory_budget import parse_bytes
from tflite_export.verify import Verification

_ONE_BIT = "approximated by one bit for hard-swish and swish, in Keras too"


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """The outcome of `export` or `make_trainable`.

    Attributes:
        path: the file.
        max_difference: the largest ||update - expected update|| / ||expected update|| of any variable in verification
            (`reference` says whose; with the same activation_gradients), over both kernel sets of LiteRT; None where
            verification was switched off.
        train_arena_bytes: activations of one training step in LiteRT with the builtin kernels, with micro-batches those
            of ``accumulate`` and ``apply`` together; for TFLite Micro those of the whole entry (the head of its arena;
            variables and the interpreter's own data lie at the tail).
        infer_arena_bytes: the same for the stock converter's inference file of the model, or for the .tflite file that
            was made trainable, on as many rows as training has in the network at once.
        file_bytes: size of the file.
        trainable_names: every variable that trains.
        unmoved_names: those of which verification could not tell anything, because the reference did not move them
            either on random input (a dead ReLU behind them).
        undetermined_names: variables of the file (an optimizer's among them) that it could not tell anything of either,
            because in the reference noise of the size of rounding moves them as far as the file is off.
        trainable_bytes: their size.
        frozen_bytes: constants of the file, what is the same twice counted once: frozen kernels and whatever else the
            step does not change.
        frozen: what frozen kernels are stored as, "float32" or "int8".
        memory_budget: bytes that the training step was allowed, None if any.
        given_budget: the same as it was given, such as "256KB".
        inert_layers: layers that do something in Keras's training alone (Dropout, augmentation): in the file's step
            they are as in inference.
        activation_gradients: "exact", or "one_bit" where those of hard-swish and swish are approximated.
        ops: per signature, and per branch of TFLite Micro's entry, how often each operator stands in it.
        reference: what the file was held against, "Keras" or "the numpy evaluator".
        quantization_difference: of a quantised file that was made trainable, ||own inference - float inference|| /
            ||float inference|| in LiteRT on random input: what rounding its activations did. None where the file
            computes in float32, or was not verified.
    """

    path: pathlib.Path
    max_difference: float | None
    train_arena_bytes: int
    infer_arena_bytes: int
    file_bytes: int
    trainable_names: Sequence[str]
    unmoved_names: Sequence[str]
    trainable_bytes: int
    memory_budget: int | None
    activation_gradients: str
    ops: Mapping[str, Mapping[str, int]]
    reference: str = "Keras"
    quantization_difference: float | None = None
    inert_layers: Sequence[str] = ()
    undetermined_names: Sequence[str] = ()
    frozen_bytes: int = 0
    frozen: str = "float32"
    given_budget: int | str | None = None

    @property
    def graph_bytes(self) -> int:
        """What is left of the file: operators and tensors, their names and shapes, metadata."""
        return self.file_bytes - self.frozen_bytes - self.trainable_bytes

    @classmethod
    def of(
        cls,
        path: str | pathlib.Path,
        content: bytes,
        compiled: CompiledModel,
        infer_arena_bytes: int,
        verification: Verification | None,
        inert_layers: Sequence[str] = (),
    ) -> ExportReport:
        program, runtime = compiled.program, compiled.options.runtime
        graphs = [graph for entry in program.signatures for graph in (entry, *entry.branches)]
        return cls(
            path=pathlib.Path(path),
            max_difference=None if verification is None else verification.max_difference,
            unmoved_names=() if verification is None else verification.unmoved,
            undetermined_names=() if verification is None else verification.undetermined,
            train_arena_bytes=sum(plan(graph, runtime, program.offsets).total_bytes for graph in compiled.training),
            infer_arena_bytes=infer_arena_bytes,
            file_bytes=len(content),
            trainable_names=tuple(v.name for v in compiled.trainables),
            trainable_bytes=sum(v.initial.nbytes for v in compiled.trainables),
            memory_budget=parse_bytes(compiled.options.memory_budget),
            given_budget=compiled.options.memory_budget,
            activation_gradients=compiled.options.activation_gradients,
            ops={graph.name: dict(Counter(op.kind for op in graph.ops)) for graph in graphs},
            reference="Keras" if verification is None else verification.reference,
            inert_layers=tuple(inert_layers),
            frozen_bytes=_constant_bytes(compiled.stored),
            frozen=compiled.options.frozen if compiled.constants == "float32" else compiled.constants,
        )

    def __str__(self) -> str:
        ratio = self.train_arena_bytes / max(1, self.infer_arena_bytes)
        budget = f", within {self._budget()}" if self.memory_budget else ""
        verified = (
            "not verified" if self.max_difference is None else f"{self.max_difference:.1e} of its length, at most"
        )
        rows = [
            ("file", f"{self.path} ({_size(self.file_bytes)})"),
            ("trains", f"{len(self.trainable_names)} variables ({_size(self.trainable_bytes)})"),
            ("first of them", self.trainable_names[0]),
            ("in the file", self._file_parts()),
            ("arena, training step", f"{_size(self.train_arena_bytes)} ({ratio:.2f} x inference{budget})"),
            ("arena, stock inference", _size(self.infer_arena_bytes)),
            (f"update's distance to {self.reference}'s", verified),
            *self._not_told("(no gradient on random input)", self.unmoved_names),
            *self._not_told(f"(rounding decides in {self.reference} too)", self.undetermined_names),
            *([("activation gradients", _ONE_BIT)] if self.activation_gradients == "one_bit" else []),
            *self._quantization_row(),
            *([("inert, as in inference", _few(self.inert_layers))] * bool(self.inert_layers)),
            ("operators", ", ".join(f"{name} {sum(ops.values())}" for name, ops in self.ops.items() if ops)),
        ]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)

    def _budget(self) -> str:
        size = _size(self.memory_budget)
        return f"{self.given_budget} = {size}" if isinstance(self.given_budget, str) else size

    def _not_told(self, why: str, names: Sequence[str]) -> list[tuple[str, str]]:
        return [("not told by it", _few(names, why))] if names else []

    def _file_parts(self) -> str:
        frozen = f"frozen {_size(self.frozen_bytes)} ({self.frozen} kernels)"
        return f"{frozen}, trainable {_size(self.trainable_bytes)}, graph {_size(self.graph_bytes)}"

    def _quantization_row(self) -> list[tuple[str, str]]:
        if self.quantization_difference is None:
            return []
        return [("own quantised inference", f"{self.quantization_difference:.1e} from the float one that trains")]


def _constant_bytes(program: Program) -> int:
    graphs = [graph for entry in program.signatures for graph in (entry, *entry.branches)]
    inputs = [tensor for graph in graphs for op in graph.ops for tensor in op.inputs if tensor is not None]
    return sum(map(len, {tensor.data.tobytes() for tensor in inputs if tensor.is_constant}))


def _few(names: Sequence[str], why: str = "") -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {why}".rstrip()


def _size(count: int) -> str:
    """With three digits or more: "640 B", "64.0 KB", "6.40 MB"; 1 KB is 1000 bytes."""
    for unit, digits, size in (("MB", 2, 1e6), ("KB", 1, 1e3)):
        if count >= size:
            return f"{count / size:.{digits}f} {unit}"
    return f"{count} B"
