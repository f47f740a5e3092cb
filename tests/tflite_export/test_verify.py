"""Verification must catch what a falling loss would hide."""

import dataclasses

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
from tflite_export.verify import Verification, VerificationError, update_difference, verify_export


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
    scaled = table[table[added.inputs[1]].inputs[0]]  # value + (-1 * (rate * gradient))
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
