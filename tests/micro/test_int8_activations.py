"""Generated programs with int8 activations, against the same integers in numpy, and against float programs."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from tests.micro import networks, toolchain
from tflite_export import micro
from tflite_export.graph import consumers
from tflite_export.memory_budget import BudgetTooSmall
from tflite_export.micro import calls, int8_activations, rules, saved, step
from tflite_export.micro.state import unpack
from tflite_export.verify import VerificationError

RATE = 0.03


@pytest.fixture(autouse=True)
def _compiler():
    toolchain.host_compiler()


def program(model, folder, **options):
    folder.mkdir(exist_ok=True)
    given = {"activations": "int8", "calibration": networks.pictures(model, 8, seed=4), **options}
    report = micro.generate(model, folder, name="net", **given)
    return report, micro.HostProgram(folder, "net")


def residual_relu(height=11, width=9, classes=4) -> keras.Model:
    """Sums that a ReLU follows, one of which is read twice, a max pool with padding, strides, one channel at a time."""
    x = inputs = keras.Input((height, width, 2))
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same", name="largest")(x)
    for i in range(2):
        y = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name=f"inner_{i}")(x)
        y = keras.layers.Conv2D(5, 1, name=f"outer_{i}")(y)
        total = keras.layers.Add(name=f"sum_{i}")([x, y])
        x = keras.layers.ReLU(name=f"relu_{i}")(total)
    x = keras.layers.Add(name="twice")([x, total])
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6", name="down")(x)
    x = keras.layers.AveragePooling2D(2, padding="same", name="average")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="head")(x), name="residual")


NETWORKS = {
    "odd sizes": networks.inverted_residuals,
    "folded norms": networks.normalised,
    "pools": networks.pools_and_relu,
    "sums and ReLU": residual_relu,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_is_the_same_integers_and_straight_through_gradients(name, tmp_path):
    """`generate` holds it against `Int8Reference`; float logits are not far off."""
    model = networks.prepared(NETWORKS[name](), "bias")
    report, host = program(model, tmp_path)
    assert report.int8_operators > 1
    assert report.max_difference < 1e-3
    assert 0 < report.quantization_difference < 0.1
    x = networks.pictures(model, 1, seed=4)[0]
    expected = np.asarray(model(x[None], training=False))[0]
    got = host.infer(x)
    if model.layers[-1].activation is keras.activations.softmax:
        got = np.exp(got - got.max()) / np.exp(got - got.max()).sum()
    assert np.linalg.norm(got - expected) < 0.1 * np.linalg.norm(expected)


def test_lite_residual_branches_stay_float_beside_an_int8_path(tmp_path):
    model = networks.prepared(networks.inverted_residuals(22, 18), "lite_residual+bias")
    report, _ = program(model, tmp_path / "int8", ram_budget="4MB")
    assert report.max_difference < 1e-2
    text = (tmp_path / "int8" / "net.c").read_text()
    assert "tinytl_resize_bilinear_add_s8" in text
    assert "tinytl_group_norm_forward" in text
    floats, _ = program(model, tmp_path / "float", ram_budget="4MB", activations="float32", calibration=None)
    assert report.infer_arena_bytes < 0.5 * floats.infer_arena_bytes
    assert report.train_arena_bytes < floats.train_arena_bytes


def test_of_pixels_whole_and_by_rows_the_integers_are_the_same(tmp_path):
    model = networks.prepared(networks.inverted_residuals(32, 30), "bias")
    pixels = np.random.default_rng(5).integers(0, 256, (8, *model.input_shape[1:])).astype(np.uint8)
    options = {"input_dtype": "uint8", "input_scale": 1 / 64, "input_offset": -2.0, "calibration": pixels}
    rows, by_rows = program(model, tmp_path / "rows", **options)
    whole, at_once = program(model, tmp_path / "whole", ram_budget="4MB", **options)
    assert rows.row_operators > 0 == whole.row_operators
    assert rows.arena_bytes < whole.arena_bytes
    np.testing.assert_array_equal(by_rows.infer(pixels[0]), at_once.infer(pixels[0]))
    for x, label in zip(pixels[:3], (1, 0, 3)):
        assert by_rows.train_step(x, label, RATE)[0] == pytest.approx(at_once.train_step(x, label, RATE)[0], 1e-5)
    states = [unpack(host.manifest, host.save()).tensors for host in (by_rows, at_once)]
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=1e-4, atol=1e-6)


def test_a_quarter_of_the_forward_memory_and_nearly_the_same_steps(tmp_path):
    model = networks.prepared(networks.inverted_residuals(32, 30), "bias")
    x = np.random.default_rng(5).integers(0, 256, (6, *model.input_shape[1:])).astype(np.uint8)
    pixels = {"input_dtype": "uint8", "input_scale": 1 / 64, "input_offset": -2.0}
    reports, changes = [], []
    for kind in ("float32", "int8"):
        calibration = x if kind == "int8" else None
        options = {**pixels, "ram_budget": "4MB", "activations": kind, "calibration": calibration, "verify": False}
        report, host = program(model, tmp_path / kind, **options)
        before = unpack(host.manifest, host.save()).tensors
        for row, label in zip(x, (0, 3, 1, 4, 2, 0), strict=True):
            host.train_step(row, label, RATE / 10)
        after = unpack(host.manifest, host.save()).tensors
        reports.append(report)
        changes.append(np.concatenate([np.ravel(after[name] - before[name]) for name in after]))
    assert reports[1].infer_arena_bytes < 0.31 * reports[0].infer_arena_bytes
    assert reports[1].state_bytes == reports[0].state_bytes
    assert reports[1].step_multiply_adds == reports[0].step_multiply_adds
    cosine = changes[0] @ changes[1] / np.linalg.norm(changes[0]) / np.linalg.norm(changes[1])
    assert cosine > 0.97


def test_a_budget_has_room_for_more(tmp_path):
    """In what a float program takes for its last layer alone."""
    model = networks.prepared(networks.inverted_residuals(32, 32), "bias")
    floats = {"verify": False, "activations": "float32", "calibration": None}
    with pytest.raises(BudgetTooSmall) as refusal:
        program(model, tmp_path / "float", ram_budget=9000, **floats)
    least = refusal.value.needed
    report, _ = program(model, tmp_path / "float", ram_budget=least, **floats)
    int8, _ = program(model, tmp_path / "int8", ram_budget=least, verify=False)
    assert int8.ram_bytes <= least
    assert len(int8.trainable_names) > len(report.trainable_names)


_requantization, _quantised_bias = calls.requantization, int8_activations.quantised_bias


def _zero_point(op):
    right = _requantization(op)
    return dataclasses.replace(right, output_zero_point=right.output_zero_point + 1)


def _multiplier(op):
    right = _requantization(op)
    return dataclasses.replace(right, multiplier=tuple(m + m // 64 for m in right.multiplier))


def _largest(op):
    right = _requantization(op)
    return dataclasses.replace(right, activation_max=right.activation_max // 2)


def _gradient(b, op, gradient, wanted):
    return b.op("scale", (gradient,), gradient.shape, multiplier=1.05, offset=0.0), None


def _bias(*given):
    return _quantised_bias(*given) + 400


WRONG = {
    "a zero point": (calls, "requantization", _zero_point),
    "a multiplier": (calls, "requantization", _multiplier),
    "an activation's end": (calls, "requantization", _largest),
    "a gradient": (rules.RULES, "quantize_bias", _gradient),
    "the biases in flash": (int8_activations, "quantised_bias", _bias),
}


@pytest.mark.parametrize("what", WRONG)
def test_verification_finds_what_is_wrong(what, tmp_path, monkeypatch):
    """In the program alone: one unit, a rounding, a mask, a gradient; a constant that the reference takes as given."""
    place, name, wrong = WRONG[what]
    model = networks.prepared(networks.inverted_residuals(), "bias")
    options = {"train_from": "b_depthwise"} if what == "the biases in flash" else {}
    (monkeypatch.setitem if isinstance(place, dict) else monkeypatch.setattr)(place, name, wrong)
    with pytest.raises(VerificationError):
        program(model, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_channels_of_next_to_no_weight_keep_their_bias(tmp_path):
    """In steps of such a kernel their bias would be more than an int32 holds."""
    model = networks.prepared(networks.inverted_residuals(), "bias")
    for name in ("a_expand", "b_expand"):
        layer = model.get_layer(name)
        kernel = layer.kernel.numpy()
        kernel[..., 1] = 1e-12
        layer.kernel.assign(kernel)
        bias = layer.bias.numpy()
        bias[1] = 0.8
        layer.bias.assign(bias)
    report, host = program(model, tmp_path)
    x = networks.pictures(model, 1, seed=4)[0]
    expected = np.asarray(model(x[None], training=False))[0]
    assert np.linalg.norm(host.infer(x) - expected) < 0.1 * np.linalg.norm(expected)
    assert report.max_difference < 1e-2


def test_what_the_backward_pass_reads_is_kept_in_int8(tmp_path, monkeypatch):
    """A trained kernel's input is converted once more behind the loss; in between its int8 stays."""
    made = []
    monkeypatch.setattr(step, "convert_again", lambda graph: made.append(graph) or graph)
    model = networks.prepared(networks.inverted_residuals(22, 18), "lite_residual+bias")
    program(model, tmp_path, verify=False)
    before, after = made[-1], saved.convert_again(made[-1])
    counts = [sum(op.kind == "dequantize" for op in graph.ops) for graph in (before, after)]
    assert counts[1] > counts[0] > 0
    readers = consumers(after.ops)
    for op in after.ops:
        if op.kind == "dequantize":
            assert len(readers[op.outputs[0]]) == 1


def test_refusals(tmp_path):
    model = networks.prepared(networks.inverted_residuals(), "bias")
    x = networks.pictures(model, 3)
    cases = [
        ({"activations": "int4"}, "activations must be"),
        ({"calibration": None}, r"needs calibration=.*\[n, 15, 13, 3\]"),
        ({"calibration": x[:, :9]}, r"got \[3, 9, 13, 3\]"),
        ({"calibration": x[:0]}, "n > 0"),
        ({"calibration": np.full_like(x, np.nan)}, "finite"),
        ({"calibration": x, "input_dtype": "uint8"}, "uint8 pixels.*got float32"),
        ({"calibration": (x * 9).astype(np.uint8)}, "float32, as the network takes them, got uint8"),
        ({"calibration": iter(x)}, r"an array \[n, 15, 13, 3\], got .*iterator: .*np.stack"),
        ({"calibration": (x, np.zeros(3))}, "got tuple: .*without their labels"),
        ({"calibration": x[0]}, r"got \[15, 13, 3\]"),
        ({"calibration": np.full(x.shape, 1e300)}, "finite .*inf"),
        ({"activations": "float32", "calibration": x}, "calibration is for activations='int8'"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            program(model, tmp_path, **{"verify": False, **options})
    with pytest.raises(ValueError, match=r"no two layers with frozen kernels.*Freeze kernels"):
        program(networks.prepared(networks.inverted_residuals(), "full"), tmp_path, verify=False)
    assert not list(tmp_path.iterdir())
