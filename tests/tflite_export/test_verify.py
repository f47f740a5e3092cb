"""Verification must catch what a falling loss would hide."""

import dataclasses
import types

import numpy as np
import pytest

import tinytl_keras
from tests.tflite_export.models import residual_network
from tflite_export import flatbuffer, losses, lowering, optimizers, signatures
from tflite_export.builder import Builder, constant
from tflite_export.compilation import compile_signature
from tflite_export.description import describe
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Op, Program, producers
from tflite_export.keras_reference import KerasReference
from tflite_export.passes.canonical import canonicalise
from tflite_export.training import OptimizerState, training_step
from tflite_export.verify import Verification, VerificationError, check_step, update_difference, verify_export


class Exported:
    """The pipeline of `export`, open where a test wants to break it."""

    def __init__(self):
        self.model = tinytl_keras.convert(residual_network(), "bias")
        self.variables = lowering.trainable_variables(self.model)
        self.forward = canonicalise(lowering.lower(self.model, 2, self.variables))
        loss, optimizer = losses.SparseCategoricalCrossentropy(), optimizers.SGD()
        self.step = training_step(self.forward, loss, optimizer, OptimizerState.of(optimizer, self.variables))
        self.description = describe(
            self.forward,
            lowering.frozen_weights(self.model, self.variables),
            loss,
            optimizer,
            ExportOptions(batch_size=2, infer_batch_size=2),
        )

    def verify(self, step: Graph, kernels: str, **replaced: Graph) -> Verification:
        graphs = {
            "infer": signatures.infer(self.forward),
            "train": step,
            "save": signatures.save(self.variables),
            "restore": signatures.restore(self.variables),
            "info": signatures.info(self.description.to_json()),
            **replaced,
        }
        program = Program(tuple(compile_signature(graph, kernels) for graph in graphs.values()))
        content = flatbuffer.write(program)
        return verify_export(content, KerasReference(self.model, self.description))


@pytest.fixture(scope="module")
def exported():
    return Exported()


def with_gradient(step: Graph, name: str, change) -> Graph:
    """`step` with the gradient of one variable replaced by ``change(builder, gradient)`` in its update."""
    table = producers(step.ops)
    (assign,) = (op for op in step.ops if op.kind == "ASSIGN_VARIABLE" and op.attributes["variable"].name == name)
    added = table[assign.inputs[0]]
    if added.kind == "UPDATE_IF":
        added = table[added.inputs[1]]
    scaled = table[added.inputs[1]]  # value + (-1 * rate) * gradient
    rate, gradient = scaled.inputs
    b = Builder("mutation")
    changed = change(b, gradient)
    ops: list[Op] = []
    for op in step.ops:
        if op is scaled:
            ops += b.ops
            op = dataclasses.replace(op, inputs=(rate, changed))
        ops.append(op)
    return step.replace(ops=tuple(ops))


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
class TestMutations:
    def test_the_right_step_passes(self, exported, kernels):
        found = exported.verify(exported.step, kernels)
        assert 0 < found.max_difference < 1e-4 and not found.unmoved

    @pytest.mark.parametrize("name", ["stem_norm/beta", "shortcut_depthwise_norm/beta", "predictions/kernel"])
    def test_a_rate_off_by_ten_percent_on_one_variable(self, exported, kernels, name):
        mutant = with_gradient(exported.step, name, lambda b, gradient: b.scale(gradient, 1.1))
        with pytest.raises(VerificationError, match=f"update of '{name}' differs from Keras's"):
            exported.verify(mutant, kernels)

    @pytest.mark.parametrize("name", ["stem_norm/beta", "predictions/bias"])
    def test_a_dropped_gradient(self, exported, kernels, name):
        mutant = with_gradient(exported.step, name, lambda b, gradient: b.mul(gradient, constant(0)))
        whole = f"update of '{name}' differs from Keras's by (1.0e\\+00|9.\\de-01)"
        with pytest.raises(VerificationError, match=whole):
            exported.verify(mutant, kernels)

    def test_a_branch_that_sends_no_gradient_back(self, exported, kernels):
        """The residual's sum of two gradients loses one of them: the loss would still fall."""
        table = producers(exported.step.ops)
        (fork,) = (
            op
            for op in exported.step.ops
            if op.kind == "ADD" and any(t in table and table[t].kind == "CONV_2D_INPUT_GRADIENT" for t in op.inputs)
        )
        dropped = next(t for t in fork.inputs if t in table and table[t].kind == "CONV_2D_INPUT_GRADIENT")
        kept = next(t for t in fork.inputs if t is not dropped)
        zero = Op("MUL", (dropped, constant(0)), (dataclasses.replace(dropped),), {}, "mutation")
        ops = []
        for op in exported.step.ops:
            if op is fork:
                ops.append(zero)
                op = dataclasses.replace(op, inputs=(kept, zero.outputs[0]))
            ops.append(op)
        with pytest.raises(VerificationError, match="differs from Keras's"):
            exported.verify(exported.step.replace(ops=tuple(ops)), kernels)

    def test_an_update_that_does_not_last(self, exported, kernels):
        ops = tuple(op for op in exported.step.ops if op.kind != "ASSIGN_VARIABLE")
        with pytest.raises((VerificationError, KeyError)):
            exported.verify(exported.step.replace(ops=ops), kernels)

    def test_a_wrong_inference(self, exported, kernels):
        infer = signatures.infer(exported.forward)
        b = Builder("mutation")
        output = b.scale(infer.outputs["output"], 1.01)
        infer = infer.replace(ops=(*infer.ops, *b.ops), outputs={**infer.outputs, "output": output})
        with pytest.raises(VerificationError, match="infer with the builtin kernels"):
            exported.verify(exported.step, kernels, infer=infer)


def test_update_difference():
    before, expected = np.zeros(3), np.array([3.0, 4.0, 0.0])
    assert update_difference(before, expected, expected) == 0
    assert update_difference(before, before, expected) == pytest.approx(1)
    assert update_difference(before, expected * 1.1, expected) == pytest.approx(0.1)
    assert update_difference(before, before, before) == 0
    assert update_difference(before, expected, before) == float("inf")
    large = np.full(3, 1e3)  # nothing can be told of an update that float32 rounds away
    assert update_difference(large, large, large + 1e-5) < 1e-2


class Stand:
    """A file and a reference that compute the same of a batch, but for what a test changes.

    The network has two weights, ``w`` and ``other``. Their gradient is the batch's mean; a switch at a ReLU's kink
    doubles that of ``other``.

    Args:
        switches: of the file, by batch: whether it lies on the other side of the kink than the reference.
        sides: the same of the reference with noise.
        off: what the file multiplies the gradient of ``w`` by.
        weight_off: what it multiplies the step of ``w`` by that Adam makes of it.
    """

    names = ("w", "other")

    def __init__(self, switches, sides=(False,) * 8, off=1.0, optimizer="sgd", weight_off=1.0):
        self.switches, self.sides, self.off, self.weight_off = iter(switches), iter(sides), off, weight_off
        self.name, self.random = "Stand", np.random.default_rng(0)
        settings = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7} if optimizer == "adam" else {}
        self.description = types.SimpleNamespace(
            batch_size=4, micro_batch=None, activation_gradients="exact",
            optimizer={"name": optimizer, "weight_decay": 0.0, **settings},
        )  # fmt: skip
        self.initial = {name: np.ones(50, np.float32) for name in self.names}
        self.state = dict(self.initial)
        if optimizer == "adam":
            self.state |= {f"{name}/{slot}": np.zeros(50, np.float32) for name in self.names for slot in "mv"}
            self.state["step"] = np.zeros(1, np.float32)

    # The reference

    def images(self, size):
        return {"x": self.random.normal(size=(size, 50)).astype(np.float32)}

    def labels(self, size, ignored=0):
        return {}

    def with_noise(self, x, relative):
        return {**x, "noisy": next(self.sides)}

    def step(self, state, x, y, valid, rate):
        return 1.0, self._step(state, x["x"], rate, switched=x.get("noisy", False))

    # The file

    def signature(self, name):
        return {"train": self._train, "save": lambda request: dict(self.state)}[name]

    def _train(self, x, learning_rate):
        rate = float(learning_rate[0])
        self.state = self._step(self.state, x, rate, next(self.switches), self.off, self.weight_off)
        return {"loss": np.ones(1)}

    def _step(self, state, x, rate, switched, off=1.0, weight_off=1.0):
        new, adam = dict(state), self.description.optimizer["name"] == "adam"
        if adam:
            new["step"] = state["step"] + 1
        for name in self.names:
            gradient = x.mean(0) * (2.0 if switched and name == "other" else 1.0) * (off if name == "w" else 1.0)
            change = -rate * gradient
            if adam:
                m, v = (new[f"{name}/{slot}"] for slot in "mv")
                new[f"{name}/m"], new[f"{name}/v"] = m + 0.1 * (gradient - m), v + 0.001 * (gradient**2 - v)
                t, m, v = new["step"], new[f"{name}/m"], new[f"{name}/v"]
                change = -rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
            new[name] = (state[name] + (weight_off if name == "w" else 1.0) * change).astype(np.float32)
        return new


def step_of(stand: Stand):
    runners = {name: stand.signature(name) for name in ("train", "save")}
    return check_step(runners, stand, stand.state, 0.01, 0, "the builtin kernels")


class TestKinks:
    """A ReLU within rounding of its kink explains a difference of what lies before it, and of nothing else."""

    def test_a_switch_on_one_batch(self):
        step = step_of(Stand(switches=[True, False]))
        assert step.difference < 1e-4 and not step.undetermined and step.moved == {"w", "other"}

    def test_a_side_that_noise_finds(self):
        step = step_of(Stand(switches=[True] * 4, sides=[False, True]))
        assert step.difference < 1e-4 and not step.undetermined

    def test_a_switch_on_every_batch_that_noise_does_not_find(self):
        with pytest.raises(VerificationError, match="update of 'other'"):
            step_of(Stand(switches=[True] * 4))

    def test_what_noise_moves_as_far_is_not_determined(self):
        stand = Stand(switches=[True] * 4, sides=[False] * 4)
        stand.with_noise = lambda x, relative: {"x": x["x"] * np.float32(3)}
        step = step_of(stand)
        assert step.undetermined == {"other"} and step.difference == pytest.approx(0.5, abs=0.2)

    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    def test_noise_of_one_variable_excuses_no_other(self, optimizer):
        stand = Stand(switches=[True, False] * 2, sides=[False, True] * 2, off=1.05, optimizer=optimizer)
        with pytest.raises(VerificationError, match="update of 'w"):
            step_of(stand)


class TestAdam:
    def test_the_sign_of_a_gradient_that_rounding_turns(self):
        """A whole step of Adam the other way, of a gradient that is nothing beside the others."""
        stand = Stand(switches=[False] * 4, optimizer="adam")
        images = stand.images

        def with_a_vanishing_one(size):
            x = images(size)
            x["x"][:, 0] = 1e-10
            return x

        stand.images = with_a_vanishing_one
        train = stand._train
        stand._train = lambda x, learning_rate: train(x * np.where(np.arange(50) == 0, -1, 1), learning_rate)
        step = step_of(stand)
        assert stand.state["w"][0] > 1 and step.difference < 1e-4

    @pytest.mark.parametrize("weight_off", [1.05, 0.0, -1.0])
    def test_a_step_that_is_not_that_of_m_and_v(self, weight_off):
        with pytest.raises(VerificationError, match="update of 'w' differs"):
            step_of(Stand(switches=[False] * 4, optimizer="adam", weight_off=weight_off))

    def test_a_wrong_gradient(self):
        with pytest.raises(VerificationError, match="update of 'w/[mv]' differs"):
            step_of(Stand(switches=[False] * 4, optimizer="adam", off=1.05))
