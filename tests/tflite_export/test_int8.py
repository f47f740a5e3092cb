"""frozen="int8": against Keras with weights that numpy rounded, in all runtimes; and what the file holds."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import calibrated, residual_network
from tests.tflite_export.runtimes import relative_difference, run_litert, run_micro
from tflite_export import flatbuffer, lowering
from tflite_export.builder import Builder, constant
from tflite_export.compilation import compile_signature
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.int8_weights import rounded
from tflite_export.passes.int8_builtin import cast_where_used
from tflite_export.passes.int8_kernels import int8_kernel
from tflite_export.passes.int8_xnnpack import multiply_by_int8
from tflite_export.runtime import OnDeviceModel
from tinytl_keras.layers import WeightStandardizedConv2D
from tinytl_keras.layers.weight_standardization import standardize


def network(standardized: bool = False) -> keras.Model:
    """Every kind of kernel: a stem, pointwise and depthwise convolutions, dense layers; some above 40,000 numbers."""
    x = inputs = keras.Input((14, 14, 3))
    if standardized:
        x = WeightStandardizedConv2D(32, 5, use_bias=False, frozen=["kernel"], name="stem")(x)
    else:
        x = layers.Conv2D(32, 5, use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.Conv2D(160, 1, use_bias=False, name="expand")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="expand_norm")(x))
    x = layers.DepthwiseConv2D(5, 2, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="depthwise_norm")(x))
    x = layers.Conv2D(264, 1, name="wide")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU(name="wide_relu")(x))
    x = layers.Dense(160, activation="relu", name="hidden")(x)
    return calibrated(keras.Model(inputs, layers.Dense(6, name="head")(x)))


def in_eight_bits(kernel: np.ndarray, channel_axes: tuple[int, ...]) -> np.ndarray:
    """One channel after the other, each value by itself."""
    result = np.zeros_like(kernel)
    for channel in np.ndindex(*(kernel.shape[axis] for axis in channel_axes)):
        place = [slice(None)] * kernel.ndim
        for axis, index in zip(channel_axes, channel, strict=True):
            place[axis] = index
        values = kernel[tuple(place)].astype(np.float64)
        step = np.float32(np.float32(np.abs(values).max()) / np.float32(127))
        whole = [round(value / float(step)) if step else 0 for value in values.ravel()]
        result[tuple(place)] = np.array(whole, np.float32).reshape(values.shape) * step
    return result


@pytest.mark.parametrize(("shape", "channels"), [((3, 3, 4, 5), (3,)), ((1, 1, 7, 1), (3,)), ((5, 3, 6, 2), (2, 3))])
def test_rounding_is_to_the_nearest_of_127_steps_of_every_channel(shape, channels):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    kernel[..., 0] *= 1e-3
    axes = tuple(axis for axis in range(4) if axis not in channels)
    np.testing.assert_allclose(rounded(kernel, axes), in_eight_bits(kernel, channels), rtol=1e-6)


def test_a_channel_of_zeros_stays():
    kernel = np.ones((3, 2), np.float32)
    kernel[:, 1] = 0
    np.testing.assert_array_equal(rounded(kernel, (0,)), kernel)


@pytest.mark.parametrize("shape", [(3, 3, 5, 4), (3, 3, 1, 7), (5, 5, 16, 3)])
def test_standardizing_a_rounded_kernel_only_scales_it(shape):
    kernel = np.random.default_rng(1).normal(0.3, 1, size=shape).astype(np.float32)
    new = rounded(kernel, (0, 1, 2), sums_to_zero=True)
    steps = np.rint(new / (np.abs(new).max(axis=(0, 1, 2)) / 127))
    result = np.asarray(standardize(keras.ops.convert_to_tensor(new)))
    scale = (result * steps).sum(axis=(0, 1, 2)) / (steps**2).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(result, steps * scale, atol=1e-5)
    original = np.asarray(standardize(keras.ops.convert_to_tensor(kernel)))
    assert np.linalg.norm(result - original) < 0.02 * np.linalg.norm(original)


# The passes


def kernel_of(*shape: int, axis: int = 0) -> Tensor:
    values = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    return constant(rounded(values, tuple(i for i in range(len(shape)) if i != axis)), name="kernel")


def graph_of(build, *shape: int) -> Graph:
    b, x = Builder(), Tensor("x", shape)
    y = build(b, x)
    return Graph("main", {"x": x}, {"y": y}, tuple(b.ops))


def _pointwise(b: Builder, x: Tensor) -> Tensor:
    bias = constant(np.linspace(-1, 1, 250), name="bias")
    shape, attributes = (*x.shape[:3], 250), {"stride_h": 1, "stride_w": 1, "padding": "VALID"}
    attributes |= {"dilation_h_factor": 1, "dilation_w_factor": 1, "fused_activation_function": "RELU6"}
    return b.op("CONV_2D", (x, kernel_of(250, 1, 1, x.shape[3]), bias), shape, **attributes)


def _computed_bias(b: Builder, x: Tensor) -> Tensor:
    channels = x.shape[3]
    attributes = {"stride_h": 1, "stride_w": 1, "padding": "VALID", "fused_activation_function": "NONE"}
    attributes |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
    return b.op("CONV_2D", (x, kernel_of(channels, 1, 1, channels), b.sum(x, (0, 1, 2))), x.shape, **attributes)


def _depthwise(b: Builder, x: Tensor) -> Tensor:
    attributes = {"stride_h": 2, "stride_w": 2, "padding": "SAME", "depth_multiplier": 1}
    attributes |= {"dilation_h_factor": 1, "dilation_w_factor": 1, "fused_activation_function": "NONE"}
    shape = (x.shape[0], -(-x.shape[1] // 2), -(-x.shape[2] // 2), x.shape[3])
    bias = constant(np.zeros(x.shape[3]))
    return b.op("DEPTHWISE_CONV_2D", (x, kernel_of(1, 5, 5, x.shape[3], axis=3), bias), shape, **attributes)


def _dense(b: Builder, x: Tensor) -> Tensor:
    bias = constant(np.linspace(-1, 1, 250))
    return b.op(
        "FULLY_CONNECTED", (x, kernel_of(250, x.shape[1]), bias), (x.shape[0], 250), fused_activation_function="RELU"
    )


def _turned(b: Builder, x: Tensor) -> Tensor:
    part = b.slice(kernel_of(200, 1, 1, x.shape[3] + 30), (0, 0, 0, 20), (200, 1, 1, x.shape[3]))
    kernel = b.transpose(b.reshape(part, part.shape), (0, 1, 2, 3))
    shape, attributes = (*x.shape[:3], 200), {"stride_h": 1, "stride_w": 1, "padding": "VALID"}
    attributes |= {"dilation_h_factor": 1, "dilation_w_factor": 1, "fused_activation_function": "NONE"}
    return b.op("CONV_2D", (x, kernel, constant(np.zeros(200))), shape, **attributes)


GRAPHS = {
    "pointwise": (_pointwise, (2, 3, 5, 170)),
    "computed bias": (_computed_bias, (1, 2, 3, 100)),
    "depthwise": (_depthwise, (1, 7, 5, 96)),
    "dense": (_dense, (3, 170)),
    "turned": (_turned, (1, 3, 3, 170)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_int8_kernels_compute_what_their_numbers_do(name):
    build, shape = GRAPHS[name]
    graph = graph_of(build, *shape)
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    expected = evaluate(graph, {"x": x})["y"]
    for at_once in (1 << 30, 1 << 13):
        whole_or_parts = cast_where_used(graph, at_once)
        stored = {t for op in whole_or_parts.ops for t in op.inputs if t.is_constant and t.dtype == "int8"}
        assert sum(map(len, {t.data.tobytes() for t in stored})) == max(
            t.size for op in graph.ops for t in op.inputs if t.is_constant
        )
        assert relative_difference(evaluate(whole_or_parts, {"x": x})["y"], expected) < 1e-6
        assert relative_difference(run_litert(whole_or_parts, {"x": x}, "builtin")["y"], expected) < 1e-6
        assert relative_difference(run_micro(whole_or_parts, {"x": x})["y"], expected) < 1e-6
    if name != "turned":
        products = multiply_by_int8(graph.replace(name="infer"))
        assert any(t.dtype == "int8" for op in products.ops for t in op.inputs)
        for kernels in ("xnnpack", "builtin"):
            assert relative_difference(run_litert(products, {"x": x}, kernels)["y"], expected) < 1e-6
        packed = multiply_by_int8(graph)  # in training some kernels are int8 in the file only
        assert relative_difference(run_litert(packed, {"x": x}, "xnnpack")["y"], expected) < 1e-6


@pytest.mark.parametrize("form", ["builtin", "xnnpack", "micro"])
def test_a_kernel_that_is_large_beside_its_maps(form):
    graph = graph_of(_pointwise, 1, 1, 1, 400)
    x = np.random.default_rng(3).normal(size=(1, 1, 1, 400)).astype(np.float32)
    compiled = compile_signature(graph, form, "int8")
    got = run_micro(compiled, {"x": x}) if form == "micro" else run_litert(compiled, {"x": x}, form)
    assert relative_difference(got["y"], evaluate(graph, {"x": x})["y"]) < 1e-6
    if form != "xnnpack":
        float32 = [t for op in compiled.ops for t in op.outputs if t.dtype == "float32"]
        assert max(t.nbytes for t in float32) <= {"builtin": 1 << 17, "micro": 1 << 13}[form]
    assert all(len(op.inputs) <= 10 for op in compiled.ops)


def test_what_is_no_int8_kernel_stays():
    values = np.random.default_rng(4).normal(size=(64, 64)).astype(np.float32)
    assert int8_kernel(constant(values)) is None  # not made of steps
    assert int8_kernel(kernel_of(8, 8)) is None  # small
    assert int8_kernel(Tensor("x", (64, 64))) is None
    assert int8_kernel(kernel_of(64, 64)) is not None


# Exports


def steps_of(path, x, y, rate=0.05):
    model = OnDeviceModel(path)
    before = model._signatures.save()
    model.train_step(x, y, rate)
    return before, model._signatures.save()


def keras_step(model, channel_axes, x, y, rate=0.05):
    """SGD on the mean cross-entropy, in plain TensorFlow, with kernels that `in_eight_bits` rounded."""
    import tensorflow as tf

    trained = {variable.path for variable in model.trainable_variables}
    originals = []
    for variable in model.variables:
        axes = channel_axes.get(variable.path)
        if axes is not None and variable.path not in trained:
            originals.append((variable, variable.numpy().copy()))
            variable.assign(in_eight_bits(variable.numpy(), axes))
    assert originals
    with tf.GradientTape() as tape:
        logits = model(x, training=False)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, value in originals:
        variable.assign(value)
    return {v.path: -rate * g.numpy() for v, g in zip(model.trainable_variables, gradients, strict=True)}


CHANNELS = {
    "stem/kernel": (3,),
    "expand/kernel": (3,),
    "depthwise/kernel": (2, 3),
    "wide/kernel": (3,),
    "hidden/kernel": (1,),
}


@pytest.mark.parametrize(("kernels", "options"), [("xnnpack", {}), ("builtin", {}), ("builtin", {"micro_batch": 1})])
def test_the_step_is_keras_step_with_rounded_kernels(tmp_path, kernels, options):
    model = tinytl_keras.convert(network(), "bias", num_classes=6)
    path, random = tmp_path / "model.tflite", np.random.default_rng(5)
    report = tflite_export.export(model, path, batch_size=2, kernels=kernels, frozen="int8", **options)
    assert report.max_difference < 1e-3
    x, y = random.normal(size=(2, 14, 14, 3)).astype(np.float32), np.array([1, 4], np.int32)
    before, after = steps_of(path, x, y)
    for name, expected in keras_step(model, CHANNELS, x, y).items():
        assert relative_difference(after[name] - before[name], expected) < 2e-3, name
    plain = tmp_path / "float32.tflite"
    tflite_export.export(model, plain, batch_size=2, kernels=kernels, verify=False, **options)
    _, of_float32 = steps_of(plain, x, y)
    assert any(relative_difference(of_float32[n] - before[n], after[n] - before[n]) > 1e-3 for n in before)


@pytest.mark.parametrize("options", [{"kernels": "builtin"}, {"kernels": "xnnpack"}, {"runtime": "micro"}])
def test_every_large_kernel_is_in_the_file_once_and_in_8_bits(tmp_path, options):
    model = tinytl_keras.convert(network(), "bias", num_classes=6)
    path = tmp_path / "model.tflite"
    report = tflite_export.export(model, path, frozen="int8", verify=False, **options)
    plain = tflite_export.export(model, tmp_path / "plain.tflite", verify=False, **options)
    program = flatbuffer.read(path)
    graphs = [graph for entry in program.signatures for graph in (entry, *entry.branches)]
    constants = {
        (t.data.tobytes(), t.dtype)
        for g in graphs
        for op in g.ops
        for t in op.inputs
        if t is not None and t.is_constant
    }
    int8 = sum(len(data) for data, dtype in constants if dtype == "int8")
    sizes = {v.path: int(np.prod(v.shape)) for v in model.non_trainable_variables if v.path in CHANNELS}
    # Of a depthwise kernel the backward pass has phases of its own; of a dense one, but under XNNPACK, a turned copy.
    again = 4 * sizes["depthwise/kernel"] + (0 if options.get("kernels") == "xnnpack" else sizes["hidden/kernel"])
    parts = sizes["wide/kernel"] if options.get("kernels") == "xnnpack" else 0  # in training; inference has it whole
    assert 0.9 * sum(sizes.values()) <= int8 <= sum(sizes.values()) + again + parts
    assert max(len(data) for data, dtype in constants if dtype == "float32") < 4 * 4096
    assert report.frozen == "int8" and report.frozen_bytes < 0.5 * plain.frozen_bytes
    assert report.frozen_bytes + report.trainable_bytes + report.graph_bytes == report.file_bytes
    assert "int8 kernels" in str(report) and "float32 kernels" in str(plain)


def test_micro_is_held_against_keras(tmp_path):
    pytest.importorskip("tflite_micro")
    model = tinytl_keras.convert(network(), "bias", num_classes=6)
    report = tflite_export.export(model, tmp_path / "model.tflite", runtime="micro", frozen="int8")
    assert report.max_difference < 1e-3


def test_standardized_kernels_and_branches(tmp_path):
    model = tinytl_keras.convert(network(standardized=True), "lite_residual+bias", num_classes=6, branches=False)
    report = tflite_export.export(model, tmp_path / "model.tflite", kernels="builtin", frozen="int8")
    assert report.max_difference < 1e-3
    graph = flatbuffer.read(tmp_path / "model.tflite").signatures[0]
    stems = [t for op in graph.ops for t in op.inputs if t is not None and t.shape[1:] == (5, 5, 3)]
    assert stems and all(t.dtype == "int8" or int8_kernel(t, smallest=1) is not None for t in stems)


def test_what_was_learned_merges(tmp_path):
    model = tinytl_keras.convert(network(), "bias", num_classes=6)
    path, merged = tmp_path / "model.tflite", tmp_path / "merged.tflite"
    tflite_export.export(model, path, frozen="int8", verify=False)
    on_device, x = OnDeviceModel(path), np.random.default_rng(6).normal(size=(1, 14, 14, 3)).astype(np.float32)
    on_device.train_step(x, np.array([2]), 0.1)
    on_device.save(tmp_path / "state.safetensors")
    tflite_export.merge(path, tmp_path / "state.safetensors", merged)
    graph = flatbuffer.read(merged).signatures[0]
    expected = on_device.predict(x)
    assert relative_difference(run_litert(graph, {"x": x}, "builtin")["output"], expected) < 1e-4
    tflite_export.load_into(model, tmp_path / "state.safetensors")


def test_the_report_of_a_file_that_was_int8_before(tmp_path):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    inference = tmp_path / "inference.tflite"
    inference.write_bytes(converter.convert())
    report = tflite_export.make_trainable(inference, tmp_path / "trainable.tflite", verify=False)
    assert report.frozen == "int8" and report.frozen_bytes < 200_000
    assert 10_000 < report.graph_bytes < 80_000


@pytest.mark.parametrize("options", [{}, {"kernels": "builtin"}])
def test_make_trainable(tmp_path, options):
    inference, path = tmp_path / "inference.tflite", tmp_path / "trainable.tflite"
    inference.write_bytes(lowering.stock_inference_file(network()))
    report = tflite_export.make_trainable(inference, path, frozen="int8", **options)
    assert report.max_difference < 1e-3 and report.frozen == "int8"
    assert path.stat().st_size < 0.7 * inference.stat().st_size


def test_refusals(tmp_path):
    model = tinytl_keras.convert(residual_network(), "full", num_classes=3)
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="frozen must be one of 'float32', 'int8', got 'int4'"):
        tflite_export.export(model, path, frozen="int4")
    with pytest.raises(ValueError, match="no kernel of model 'residual_network.*' is frozen.*such as 'bias'"):
        tflite_export.export(model, path, frozen="int8")
    inference = tmp_path / "inference.tflite"
    inference.write_bytes(lowering.stock_inference_file(residual_network()))
    with pytest.raises(ValueError, match="no kernel of the file is frozen"):
        tflite_export.make_trainable(inference, path, method="full", frozen="int8")
    assert not path.exists()
