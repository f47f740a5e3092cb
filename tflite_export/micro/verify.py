"""Holds a program, compiled for this machine, against the numpy evaluator.

The reference computes in double precision on the graph that the program was made from, with the numbers that the int8
kernels stand for; its gradients are checked against finite differences of the forward pass first
(`from_tflite.numpy_reference`). Nothing of the C operators' rules, fusions and memory is used there. Of a program with
int8 activations the reference is `Int8Reference`: the same integers in numpy.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.from_tflite.numpy_reference import NumpyReference
from tflite_export.from_tflite.trainables import frozen
from tflite_export.graph import Graph, Op
from tflite_export.micro.calibration import Calibration
from tflite_export.micro.host import HostProgram
from tflite_export.micro.int8_reference import Int8Reference, output_of
from tflite_export.micro.program import MicroProgram
from tflite_export.micro.quantize import as_int8, dequantised
from tflite_export.micro.raised import raised
from tflite_export.micro.state import pack, unpack
from tflite_export.micro.writing import write_program
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.runtime.info import Description
from tflite_export.runtime.state import State
from tflite_export.step_loss import peel_activation
from tflite_export.verify import VerificationError, check_inference, check_steps, expect_equal

_NAME = "the generated program"
_STIR = 0.02
_DRAWS = 4  # of a picture
_FORWARD_TOLERANCE = 3e-3
_INTEGER_TOLERANCE = 1e-5  # of the output's norm: float32's rounding in the last layers


@dataclasses.dataclass(frozen=True)
class MicroVerification:
    """What a comparison found: the largest ||update - expected|| / ||expected|| of any variable in any step, and
    ||logits - float logits|| / ||float logits|| of the int8 kernels."""

    max_difference: float
    quantization_difference: float


def verify_program(
    program: MicroProgram, canonical: Graph, calibration: Calibration | None = None
) -> MicroVerification:
    """Compiles `program` and takes steps with it.

    Args:
        program: what is to be written.
        canonical: the forward graph that it was made from.
        calibration: of a program with int8 activations.

    Raises:
        VerificationError: inference, an update, or the state differs.
        RuntimeError: there is no C compiler.
    """
    trained = {v.name for v in program.variables}
    graph = frozen(canonical, {v.name for v in canonical.variables} - trained)
    graph = remove_dead_code(fold_constants(graph))
    if calibration is None:
        reference = _Reference(with_int8_kernels(graph), program)
    else:
        _check_forward(program, with_int8_kernels(graph), calibration)
        reference = Int8Reference(program, calibration.images)
    with tempfile.TemporaryDirectory() as folder:
        write_program(program, pathlib.Path(folder))
        runner = Runner(HostProgram(folder, program.name), program)
    if calibration is None:
        check_inference(runner.signatures, reference, _NAME)
    else:
        _check_int8_inference(runner, reference)
    factory = runner.save()
    expect_equal(factory, reference.initial, f"the initial state of {_NAME}")
    state = _stirred(factory, trained, reference.random)
    runner.restore(state)
    worst = max(step.difference for step in check_steps(runner.signatures, reference, state, _NAME))
    runner.restore(factory)
    expect_equal(runner.save(), factory, f"restore of {_NAME}")
    return MicroVerification(worst, _quantization_difference(graph, reference))


def _check_forward(program: MicroProgram, graph: Graph, calibration: Calibration) -> None:
    """The C operators on floats are the model: what is compared in integers behind that starts from them, not from the
    model. All roundings are left out but those of constant biases to steps of their sums, which come to a thousandth of
    the logits in a deep network."""
    forward, _ = raised(program.forward, program.layouts)
    expected = graph.replace(outputs={"logits": peel_activation(graph)[0]})
    x = calibration.images[:1]
    got, expected = (evaluate(g, {next(iter(g.inputs)): x})["logits"] for g in (forward, expected))
    difference = np.linalg.norm(got.ravel() - expected.ravel()) / max(np.linalg.norm(expected), 1e-12)
    if not difference <= _FORWARD_TOLERANCE:
        raise VerificationError(f"the C operators differ from the model by {difference:.1e} of the logits' norm")


def _check_int8_inference(runner: Runner, reference: Int8Reference) -> None:
    """One unit in one number of an int8 map moves the logits by more than `_INTEGER_TOLERANCE`. A float at the border
    may round the other way in single precision: then another picture shows that it was that."""
    differences = []
    for _ in range(_DRAWS):
        x = reference.images(1)
        got, expected = runner.infer(**x)["output"], reference.infer(x)["output"]
        differences.append(np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-12))
        if differences[-1] <= _INTEGER_TOLERANCE:
            return
    raise VerificationError(
        f"{_NAME}: the output differs from that of the same integers in numpy by {min(differences):.1e} of its norm. "
        "Please report the model; verify=False writes the program regardless."
    )


def _stirred(state: dict[str, np.ndarray], trained: set[str], random) -> dict[str, np.ndarray]:
    """`state` a little off. Fresh biases are zero, and behind a ReLU whole windows are: a rectifier at its kink has no
    derivative to compare with. And a branch whose scale is zero hides what lies in it."""
    return {
        name: (value + _STIR * random.normal(size=value.shape)).astype(np.float32) if name in trained else value
        for name, value in state.items()
    }


def with_int8_kernels(graph: Graph) -> Graph:
    """A canonical graph, whose constant kernels are the numbers that `quantize_kernels` makes of them."""
    axes = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}

    def quantised(op: Op) -> Op:
        kernel = op.inputs[1] if len(op.inputs) > 1 else None
        if kernel is None or not kernel.is_constant or op.kind not in (*axes, "MATMUL"):
            return op
        axis = axes[op.kind] if op.kind in axes else 0 if op.attributes["adj_y"] else 1
        inputs = (op.inputs[0], dequantised(as_int8(kernel, axis)), *op.inputs[2:])
        return dataclasses.replace(op, inputs=inputs)

    return graph.replace(ops=tuple(map(quantised, graph.ops)))


class Runner:
    """A program with the signatures of an exported file."""

    def __init__(self, host: HostProgram, program: MicroProgram):
        self.host, self.program = host, program
        self.description = program.description
        self.signatures = {"infer": self.infer, "train": self.train, "save": self.save}

    def infer(self, x):
        return {"output": output_of(self.host.infer(self._bytes(x)), self.description.output_activation)}

    def train(self, x, y, learning_rate):
        loss, correct = self.host.train_step(self._bytes(x), y, float(learning_rate[0]))
        return {"loss": [loss], "correct": [correct]}

    def save(self, request=None) -> dict[str, np.ndarray]:
        return dict(unpack(self.host.manifest, self.host.save()).tensors)

    def restore(self, tensors: dict[str, np.ndarray]) -> None:
        step = int(tensors.get("step", np.zeros(1))[0])
        status = self.host.restore(pack(self.host.manifest, State(tensors, self.host.manifest["fingerprint"], step)))
        if status:
            raise VerificationError(f"{_NAME} refuses a state of its own with status {status}")

    def _bytes(self, x: np.ndarray) -> np.ndarray:
        if self.program.train.inputs["x"].dtype == "float32":
            return x
        return pixels(x, self.description)


def pixels(x: np.ndarray, description: Description) -> np.ndarray:
    """The bytes that become `x`."""
    values = np.rint((np.asarray(x, np.float64) - description.input_offset) / description.input_scale)
    return np.clip(values, 0, 255).astype(np.uint8)


class _Reference(NumpyReference):
    """On pictures that bytes can be, where the program takes bytes."""

    def __init__(self, graph: Graph, program: MicroProgram):
        self.of_bytes = program.train.inputs["x"].dtype != "float32"
        super().__init__(lambda rows: graph, program.description)

    def images(self, size: int) -> dict[str, np.ndarray]:
        if not self.of_bytes:
            return super().images(size)
        scale, offset = self.description.input_scale, self.description.input_offset
        shape = (size, *self.description.input_shape)
        return {"x": (self.random.integers(0, 256, shape) * scale + offset).astype(np.float32)}


def _quantization_difference(graph: Graph, reference: NumpyReference) -> float:
    x = reference.images(1)
    expected, got = evaluate(graph, x)["output"], reference.infer(x)["output"]
    return float(np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-12))
