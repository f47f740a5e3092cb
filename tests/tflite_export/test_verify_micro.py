"""Verification in TFLite Micro must catch a wrong step, and a file that is not what was verified."""

import dataclasses
import json

import numpy as np
import pytest

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tflite_export import flatbuffer, micro_program
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Program
from tflite_export.keras_reference import KerasReference
from tflite_export.runtime.info import Description
from tflite_export.verify import VerificationError
from tflite_export.verify_micro import Twin, verify_micro, written

pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(program, Keras model, description) of a verified file"""
    path = tmp_path_factory.mktemp("micro") / "model.tflite"
    model = tinytl_keras.convert(residual_network(), "bias")
    tflite_export.export(model, path, runtime="micro", verify=False)
    program = flatbuffer.read(path)
    return program, model, Description(**json.loads(program.metadata["tinytl"]))


def named(entry: Graph) -> list[Graph]:
    """The branches, with inputs and outputs by the entry's names: the file does not hold them."""
    outer = list(entry.inputs)[:-1]
    return [
        branch.replace(
            inputs=dict(zip(outer, branch.inputs.values(), strict=True)),
            outputs=dict(zip(entry.outputs, branch.outputs.values(), strict=True)),
        )
        for branch in entry.branches
    ]


def verify(exported, train=None, infer=None):
    program, model, description = exported
    given = named(program.signatures[0])
    entry = micro_program.step(train or given[0], infer or given[1])
    return verify_micro(written(entry)[0], Program((entry,)), KerasReference(model, description))


def test_the_right_file_passes(exported):
    program, model, description = exported
    found = verify_micro(flatbuffer.write(program), program, KerasReference(model, description))
    assert 0 < found.max_difference < 1e-4 and not found.unmoved


def test_an_update_that_is_not_stored(exported):
    train, _ = named(exported[0].signatures[0])
    last = [op for op in train.ops if op.kind == "ASSIGN_VARIABLE"][-1]
    name = last.attributes["variable"].name
    broken = train.replace(ops=tuple(op for op in train.ops if op is not last))
    with pytest.raises(VerificationError, match=f"train with TFLite Micro: the update of '{name}' differs"):
        verify(exported, train=broken)


def test_an_update_off_by_ten_percent(exported):
    train, _ = named(exported[0].signatures[0])
    b = Builder("mutation")
    rate = b.scale(train.inputs["learning_rate"], 1.1)
    ops = tuple(
        dataclasses.replace(op, inputs=tuple(rate if t is train.inputs["learning_rate"] else t for t in op.inputs))
        for op in train.ops
    )
    with pytest.raises(VerificationError, match="differs from Keras's by 1.0e-01 of its norm"):
        verify(exported, train=train.replace(ops=(*b.ops, *ops)))


def test_a_wrong_inference(exported):
    _, infer = named(exported[0].signatures[0])
    b = Builder("mutation")
    output = b.scale(infer.outputs["output"], 1.01)
    wrong = infer.replace(outputs={**infer.outputs, "output": output}, ops=(*infer.ops, *b.ops))
    with pytest.raises(VerificationError, match="infer with TFLite Micro: the output differs"):
        verify(exported, infer=wrong)


def test_inference_that_changes_a_variable(exported):
    _, infer = named(exported[0].signatures[0])
    variable = infer.variables[0]
    b = Builder("mutation")
    b.assign(variable, b.add(b.read(variable), constant(0.01)))
    with pytest.raises(VerificationError):
        verify(exported, infer=infer.replace(ops=(*infer.ops, *b.ops)))


def test_a_file_that_is_not_its_twin(exported):
    program, model, description = exported
    entry = program.signatures[0]
    swapped = written(micro_program.step(*reversed(named(entry))))[0]
    with pytest.raises(VerificationError, match="the file's outputs in mode 1 in TFLite Micro"):
        verify_micro(swapped, Program((entry,)), KerasReference(model, description))


def test_offsets_that_overlap(exported):
    program, model, description = exported
    crowded = {tensor: offset // 2 // 16 * 16 for tensor, offset in program.offsets.items()}
    content = flatbuffer.write(Program(program.signatures, {}, crowded))
    with pytest.raises(VerificationError, match="the file's outputs in mode"):
        verify_micro(content, program, KerasReference(model, description))


def test_a_twin_can_begin_anywhere(exported):
    twin = Twin(exported[0].signatures[0])
    state = {name: np.full(value.shape, 0.25, np.float32) for name, value in twin.save().items()}
    twin.restore(**state)
    for name, value in twin.save().items():
        np.testing.assert_array_equal(value, state[name], name)
