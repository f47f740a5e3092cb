"""Holds a file for TFLite Micro against a reference, in the interpreter of TFLM's Python wheel.

The file's one entry does not give its variables. So what is compared with it is a twin: the same two branches in the
same order, each followed by reads of all variables. The file itself must then return bit for bit what its twin does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io

import numpy as np

from tflite_export import flatbuffer, micro_program
from tflite_export.arena import plan
from tflite_export.builder import Builder
from tflite_export.graph import CUSTOM, Graph, Program
from tflite_export.micro.tflm_wheel import load_operators
from tflite_export.reference import Reference
from tflite_export.verify import (
    LEARNING_RATES,
    Verification,
    VerificationError,
    check_inference,
    check_steps,
    expect_equal,
    found,
)

_NAME = "TFLite Micro"


def micro_wheel():
    """The module of TFLM's interpreter.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module("tflite_micro").runtime
    except ImportError as error:
        raise ImportError(
            "verification runs the file in TFLite Micro's interpreter, which is not installed: "
            'pip install "tinytl-keras[micro]", or pass verify=False to write the file unverified'
        ) from error


def verify_micro(content: bytes, program: Program, reference: Reference) -> Verification:
    """Compares the twin of the program's entry with `reference`, and `content`, which it was written to, with the twin.

    Raises:
        VerificationError: an update differs by more than `verify.TOLERANCE`, or an entry does not do what it should.
    """
    (entry,) = program.signatures
    twin = Twin(entry)
    runners = {"infer": twin.infer, "train": twin.train, "save": twin.save, "restore": twin.restore}
    check_inference(runners, reference, _NAME)
    factory = twin.save()
    expect_equal(factory, reference.initial, f"the first run in {_NAME}")
    steps = []
    for step in check_steps(runners, reference, factory, _NAME):
        expect_equal(twin.save(), step.state, f"inference in {_NAME}")
        steps.append(step)
    _check_same(MicroEntry(content, entry), MicroEntry(*written(with_state(entry))), reference)
    return found(steps, reference)


class MicroEntry:
    """A file's entry ``step`` in TFLM's interpreter.

    Args:
        content: the file.
        entry: the graph that it was written from; inputs and outputs go by its names.
    """

    def __init__(self, content: bytes, entry: Graph):
        self.entry = entry
        arena = plan(entry, "micro").total_bytes + 4 * len(content) + (8 << 20)  # pages that it does not touch are free
        with contextlib.redirect_stdout(io.StringIO()):  # the wheel announces its variables
            self.interpreter = self._attempt(
                micro_wheel().Interpreter.from_bytes, content, arena_size=arena, custom_op_registerers=_custom(entry)
            )

    def run(self, mode: int, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name; inputs that are not given are zeros."""
        zeros = {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in self.entry.inputs.items()}
        filled = {**zeros, **inputs, "mode": np.array([mode], np.int32)}
        for i, (_, value) in enumerate(zip(self.entry.inputs, filled.values(), strict=True)):
            self.interpreter.set_input(value, i)
        self._attempt(self.interpreter.invoke)
        return {name: self.interpreter.get_output(i) for i, name in enumerate(self.entry.outputs)}

    def _attempt(self, call, *arguments, **options):
        try:
            return call(*arguments, **options)
        except RuntimeError as error:
            raise VerificationError(
                f"{_NAME} refuses the file ({error}); its reason stands on stderr. Please report the model."
            ) from error


def _custom(entry: Graph) -> list[str]:
    """What registers the custom operators of `entry` with the wheel."""
    custom = any(op.kind in CUSTOM for graph in (entry, *entry.branches) for op in graph.ops)
    return [load_operators()] if custom else []


class Twin:
    """The entry, with the values of its variables at hand: what the signatures of a LiteRT file offer."""

    def __init__(self, entry: Graph):
        self.entry = with_state(entry)
        self.runner = MicroEntry(*written(self.entry))

    def infer(self, **inputs):
        return self.runner.run(micro_program.INFER, **inputs)

    def train(self, **inputs):
        return self.runner.run(micro_program.TRAIN, **inputs)

    def save(self, request=None) -> dict[str, np.ndarray]:
        outputs = self.runner.run(micro_program.INFER)
        return {variable.name: outputs[variable.name] for variable in self.entry.variables}

    def restore(self, **state: np.ndarray) -> None:
        """TFLM has no entry that assigns: a file that begins with `state`."""
        begins = {v: dataclasses.replace(v, initial=state[v.name].reshape(v.shape)) for v in self.entry.variables}

        def begin(graph: Graph) -> Graph:
            changed = ({**op.attributes, "variable": begins.get(op.attributes.get("variable"))} for op in graph.ops)
            ops = (
                dataclasses.replace(op, attributes=attributes) if attributes["variable"] else op
                for op, attributes in zip(graph.ops, changed, strict=True)
            )
            return graph.replace(ops=tuple(ops))

        self.runner = MicroEntry(*written(micro_program.step(*map(begin, self.entry.branches))))


def with_state(entry: Graph) -> Graph:
    """`entry` with every variable's value after the run among its outputs."""

    def reading(branch: Graph) -> Graph:
        b = Builder("state")
        values = {variable.name: b.read(variable) for variable in entry.variables}
        inputs = dict(zip(entry.inputs, branch.inputs.values(), strict=False))  # mode is not passed on
        outputs = dict(zip(entry.outputs, branch.outputs.values(), strict=True))
        return Graph(branch.name, inputs, {**outputs, **values}, (*branch.ops, *b.ops))

    return micro_program.step(*map(reading, entry.branches))


def written(entry: Graph) -> tuple[bytes, Graph]:
    """The file of `entry`, without metadata, beside it."""
    return flatbuffer.write(Program((entry,))), entry


def _check_same(file: MicroEntry, twin: MicroEntry, reference: Reference) -> None:
    size = reference.description.batch_size
    for mode in (micro_program.TRAIN, micro_program.INFER, micro_program.TRAIN):
        inputs = {**reference.images(size), **reference.labels(size)}
        inputs["learning_rate"] = np.full(1, LEARNING_RATES[0], np.float32)
        got, expected = file.run(mode, **inputs), twin.run(mode, **inputs)
        expect_equal(got, {name: expected[name] for name in got}, f"the file's outputs in mode {mode} in {_NAME}")
