"""What `make_trainable` checks before it hands a file over, what it refuses, and its options."""

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
from tests.tflite_export.inference_files import FORMS, converted, file, images, keras_name, run
from tests.tflite_export.models import plain_cnn
from tests.tflite_export.runtimes import KERNELS, relative_difference
from tflite_export import VerificationError, _make_trainable, flatbuffer
from tflite_export.autodiff import RULES
from tflite_export.builder import constant, integers
from tflite_export.graph import Graph, Op, Program, Quantization, Tensor
from tflite_export.runtime import OnDeviceModel

_SCALAR = Tensor("number", (), "float32", np.float32(1))


@pytest.mark.parametrize("form", FORMS)
def test_verified(form, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(file(form), path, batch_size=2, infer_batch_size=3)
    assert report.max_difference < 1e-3 and not report.unmoved_names and "numpy evaluator" in str(report)
    if form in ("int8", "int8_io"):
        assert 1e-3 < report.quantization_difference < 0.2 and "own quantised inference" in str(report)
    elif form != "dynamic":  # whose kernels are too small to be quantised
        assert report.quantization_difference is None
    if form == "float32":
        own = Interpreter(model_path=str(file(form)))
        own.allocate_tensors()
        x, outputs = images(3), []
        for row in x:
            own.set_tensor(own.get_input_details()[0]["index"], row[None])
            own.invoke()
            outputs.append(own.get_tensor(own.get_output_details()[0]["index"])[0])
        for kernels in KERNELS:
            assert relative_difference(run(path, kernels)["infer"](x=x)["output"], outputs) < 1e-5


def test_the_file_that_infers_is_never_overwritten(tmp_path):
    only = tmp_path / "only.tflite"
    only.write_bytes(file("float32").read_bytes())
    before = only.read_bytes()
    with pytest.raises(ValueError, match="would be overwritten, and with it the file that infers"):
        tflite_export.make_trainable(only, only)
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file in it"):
        tflite_export.make_trainable(only, tmp_path)
    assert only.read_bytes() == before


def test_verified_with_branches_and_every_option(tmp_path):
    """Slots, accumulation and clipping, held against the numpy evaluator."""
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(
        file("int8"), path, method="lite_residual+bias", num_classes=4, batch_size=4, micro_batch=2, clip_norm=0.5,
        optimizer=tflite_export.Adam(weight_decay=0.01), label_smoothing=0.1, class_names=["a", "b"],
        input_scale=1 / 127.5, input_offset=-1.0, train_from="strided", memory_budget="1MB", kernels="builtin",
    )  # fmt: skip
    assert report.max_difference < 2e-2 and not report.unmoved_names
    assert not any(name.startswith("stem") for name in report.trainable_names)
    info = OnDeviceModel(path).info
    assert info["class_names"] == ["a", "b"] and info["micro_batch"] == 2 and info["output_activation"] == "linear"


@pytest.mark.parametrize("optimizer", ["sgd", tflite_export.SGD(0.9, nesterov=True, weight_decay=0.01)])
def test_verified_with_another_loss(optimizer, tmp_path):
    options = {"loss": "binary_crossentropy", "num_classes": 3, "batch_size": 3, "optimizer": optimizer}
    report = tflite_export.make_trainable(file("float32"), tmp_path / "model.tflite", **options)
    assert report.max_difference < 1e-3


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_shapes_that_a_file_computes(form, tmp_path):
    """Flatten is SHAPE, STRIDED_SLICE, PACK and RESHAPE in a file with a dynamic batch; the first bias is zeros."""
    model = plain_cnn()
    model.get_layer("third").bias.assign(np.zeros(10))
    x = np.random.default_rng(0).normal(size=(16, 19, 21, 1)).astype(np.float32)
    (tmp_path / "own.tflite").write_bytes(converted(model, form, x))
    report = tflite_export.make_trainable(tmp_path / "own.tflite", tmp_path / "model.tflite", batch_size=3)
    names = [keras_name(name) for name in report.trainable_names]
    assert {"first/bias", "second/bias", "third/bias", "hidden/bias", "logits/kernel", "logits/bias"} <= set(names)
    assert report.max_difference < 1e-3


def test_a_map_that_lies_at_a_kink(tmp_path):
    """A dead channel and a bias of zero, as in every network that is not trained yet: ReLU gets zeros alone there, and
    central differences would have half of the slope on their one side."""
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, activation="relu", bias_initializer=keras.initializers.Constant([-100, 0, 0, 0]))(x)
    y = layers.DepthwiseConv2D(3, activation="relu")(y)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))
    (tmp_path / "own.tflite").write_bytes(converted(model, "float32", images(1)))
    report = tflite_export.make_trainable(tmp_path / "own.tflite", tmp_path / "model.tflite", batch_size=2)
    assert report.max_difference < 1e-3 and not report.unmoved_names


@pytest.mark.parametrize("axes", [[1, 2], [3, -3], [3, 1, 2]])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_axes_that_are_reversed_together(axes, dtype, tmp_path):
    """LiteRT refuses those that lie apart; the written file has none that does."""
    quantization = None if dtype == "float32" else Quantization((0.1,), (3,))
    images, turned, row, y = (
        Tensor(name, shape, dtype, None, quantization)
        for name, shape in (("x", (1, 4, 3, 2)), ("turned", (1, 4, 3, 2)), ("row", (1, 24)), ("y", (1, 5)))
    )
    numbers = np.random.default_rng(0).integers(-90, 90, (5, 24)).astype(dtype)
    scale = None if dtype == "float32" else Quantization((0.01,), (0,))
    ops = (
        Op("REVERSE_V2", (images, integers(axes)), (turned,)),
        Op("RESHAPE", (turned, integers([1, 24])), (row,), {"new_shape": (1, 24)}),
        Op("FULLY_CONNECTED", (row, Tensor("kernel", (5, 24), dtype, numbers, scale), None), (y,),
           {"fused_activation_function": "NONE"}),
    )  # fmt: skip
    (tmp_path / "own.tflite").write_bytes(flatbuffer.write(Program((Graph("main", {"x": images}, {"y": y}, ops),))))
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(tmp_path / "own.tflite", path, method="last", infer_batch_size=2)
    assert report.quantization_difference is None or report.quantization_difference < 0.5
    x = np.random.default_rng(1).normal(size=(2, 4, 3, 2)).astype(np.float32)
    real = numbers * (1 if dtype == "float32" else 0.01)
    expected = np.flip(x, axes).reshape(2, 24) @ real.T
    for kernels in KERNELS:
        np.testing.assert_allclose(run(path, kernels)["infer"](x=x)["output"], expected, rtol=1e-4, atol=1e-3)


def test_the_loss_is_of_the_probabilities_that_the_file_gives(tmp_path):
    """A SOFTMAX with a factor of its own, beta."""
    x, scores, y = (Tensor(name, (1, size)) for name, size in (("x", 5), ("scores", 4), ("y", 4)))
    kernel = constant(np.random.default_rng(0).normal(size=(4, 5)))
    dense = Op("FULLY_CONNECTED", (x, kernel, None), (scores,), {"fused_activation_function": "NONE"})
    graph = Graph("main", {"x": x}, {"y": y}, (dense, Op("SOFTMAX", (scores,), (y,), {"beta": 3.0})))
    (tmp_path / "own.tflite").write_bytes(flatbuffer.write(Program((graph,))))
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(tmp_path / "own.tflite", path, method="last", batch_size=2)
    assert report.max_difference < 1e-3
    model, x = OnDeviceModel(path), np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32)
    probabilities = model.predict(x)
    loss = model.train_step(x, np.array([3, 1]), 0.0).loss
    np.testing.assert_allclose(loss, -np.log(probabilities[[0, 1], [3, 1]]).mean(), rtol=1e-5)


def test_train_from_as_far_as_the_budget_allows(tmp_path):
    path = tmp_path / "model.tflite"
    everything = tflite_export.make_trainable(file("float32"), path, batch_size=4, verify=False)
    last = tflite_export.make_trainable(file("float32"), path, method="last", batch_size=4, verify=False)
    budget = (everything.train_arena_bytes + last.train_arena_bytes) // 2
    options = {"train_from": "budget", "memory_budget": budget, "kernels": "builtin"}
    report = tflite_export.make_trainable(file("float32"), path, batch_size=4, **options)
    assert report.train_arena_bytes <= budget
    assert set(last.trainable_names) < set(report.trainable_names) <= set(everything.trainable_names)


class TestMutations:
    """What a wrong compiler writes is not handed over."""

    @pytest.mark.parametrize(("kind", "factor"), [("CONV_2D", 1.05), ("ADD", 1.05), ("MEAN", 1.05), ("RELU6", 0.0)])
    def test_a_wrong_gradient(self, kind, factor, tmp_path, monkeypatch):
        right = RULES[kind]

        def wrong(b, op, gradient, wanted):
            return right(b, op, b.scale(gradient, factor), wanted)

        monkeypatch.setitem(RULES, kind, wrong)
        with pytest.raises(VerificationError, match="differs from central differences of the loss"):
            tflite_export.make_trainable(file("float32"), tmp_path / "model.tflite", method="full", batch_size=2)
        assert not (tmp_path / "model.tflite").exists()

    @pytest.mark.parametrize("form", ["float32", "float16"])
    def test_a_wrong_forward_pass(self, form, tmp_path, monkeypatch):
        right = _make_trainable.rebatched

        def wrong(graph, rows):
            graph = right(graph, rows)
            ops = (Op("RELU", op.inputs, op.outputs) if op.kind == "RELU6" else op for op in graph.ops)
            return graph.replace(ops=tuple(ops))

        monkeypatch.setattr(_make_trainable, "rebatched", wrong)
        options = {"input_scale": 0.1}  # large inputs, which RELU6 cuts off
        with pytest.raises(VerificationError, match="the file's own inference in LiteRT"):
            tflite_export.make_trainable(file(form), tmp_path / "model.tflite", **options)


class TestRefusals:
    def refused(self, source, tmp_path, match, **options):
        with pytest.raises(ValueError, match=match):
            tflite_export.make_trainable(source, tmp_path / "refused.tflite", **options)
        assert not (tmp_path / "refused.tflite").exists()

    def test_options(self, tmp_path):
        self.refused(file("float32"), tmp_path, "a .tflite file has none left", method="norm+last")
        self.refused(file("float32"), tmp_path, "method must be one of", method="everything")
        self.refused(file("float32"), tmp_path, "num_classes must be", num_classes=0)
        self.refused(file("float32"), tmp_path, "no layer or block of that name; the layers that", train_from="zzz")

    def test_what_is_no_inference_file(self, tmp_path):
        (tmp_path / "text.tflite").write_bytes(b"no model at all")
        self.refused(tmp_path / "text.tflite", tmp_path, "not a TFLite file")
        tflite_export.make_trainable(file("float32"), tmp_path / "trains.tflite", method="last", verify=False)
        self.refused(tmp_path / "trains.tflite", tmp_path, "trains already")
        with pytest.raises(FileNotFoundError):
            tflite_export.make_trainable(tmp_path / "none.tflite", tmp_path / "model.tflite")

    def changed(self, tmp_path, change):
        model = schema.ModelT.InitFromPackedBuf(file("float32").read_bytes(), 0)
        change(model)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        (tmp_path / "changed.tflite").write_bytes(bytes(builder.Output()))
        return tmp_path / "changed.tflite"

    def test_a_custom_operator(self, tmp_path):
        def change(model):
            op = model.subgraphs[0].operators[-1]
            code = model.operatorCodes[op.opcodeIndex]
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = "MyOp"
            op.builtinOptionsType, op.builtinOptions = 0, None

        self.refused(self.changed(tmp_path, change), tmp_path, "custom operator")

    def test_an_operator_that_is_not_known(self, tmp_path):
        def change(model):
            op = model.subgraphs[0].operators[-1]
            code = model.operatorCodes[op.opcodeIndex]
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.HASHTABLE_LOOKUP
            op.builtinOptionsType, op.builtinOptions = 0, None

        self.refused(self.changed(tmp_path, change), tmp_path, "HASHTABLE_LOOKUP, which writes .* is not known")

    @pytest.mark.parametrize(
        ("op", "match"),
        [
            (Op("TILE", (constant(np.ones(4)), integers([1 << 30])), (Tensor("made", (4,)),)), "TILE.*at most"),
            (Op("FILL", (integers([1 << 30, 1 << 30]), _SCALAR), (Tensor("made", (4,)),)), "FILL.*at most"),
            (Op("GATHER", (constant(np.ones(4)), integers([0, 1, 2, 9])), (Tensor("made", (4,)),)), "expects 0 to 3"),
            (Op("NEG", (constant(np.ones(5)),), (Tensor("made", (4,)),)), "the file declares another"),
        ],
        ids=lambda value: getattr(value, "kind", ""),
    )
    def test_constants_that_must_not_be_computed(self, op, match, tmp_path):
        """Before anything is computed, every operator is held against its operands and the shapes of the file."""
        x, y = Tensor("x", (1, 4)), Tensor("y", (1, 4))
        graph = Graph("main", {"x": x}, {"y": y}, (op, Op("ADD", (x, op.outputs[0]), (y,))))
        (tmp_path / "hostile.tflite").write_bytes(flatbuffer.write(Program((graph,))))
        self.refused(tmp_path / "hostile.tflite", tmp_path, match)

    @pytest.mark.parametrize("dtype", ["float32", "int8"])
    def test_samples_that_mix(self, dtype, tmp_path):
        """A softmax over an axis that is the classes where the batch is one, and the batch too where it is not. The
        rounding of a quantised file hides it from a comparison with the file itself."""

        def tensor(name, shape, scale=0.1, zero_point=0, data=None, stored=dtype):
            quantization = None if dtype == "float32" else Quantization((scale,), (zero_point,))
            return Tensor(name, shape, stored, data, quantization)

        numbers = np.random.default_rng(0).integers(-90, 90, (4, 5))
        x, scores, row = tensor("x", (1, 5)), tensor("scores", (1, 4)), tensor("row", (4,))
        softmax, y = (tensor(name, shape, 1 / 256, -128) for name, shape in (("softmax", (4,)), ("y", (1, 4))))
        dense = (x, tensor("kernel", (4, 5), 0.01, data=numbers.astype(dtype)), None)
        ops = (
            Op("FULLY_CONNECTED", dense, (scores,), {"fused_activation_function": "NONE"}),
            Op("RESHAPE", (scores, integers([4])), (row,), {"new_shape": (4,)}),
            Op("SOFTMAX", (row,), (softmax,), {"beta": 1.0}),
            Op("RESHAPE", (softmax, integers([1, 4])), (y,), {"new_shape": (1, 4)}),
        )
        (tmp_path / "own.tflite").write_bytes(flatbuffer.write(Program((Graph("main", {"x": x}, {"y": y}, ops),))))
        self.refused(tmp_path / "own.tflite", tmp_path, "mixes the samples", infer_batch_size=4)

    def test_several_outputs(self, tmp_path):
        def change(model):
            graph = model.subgraphs[0]
            graph.outputs = [*graph.outputs, graph.operators[0].outputs[0]]
            model.signatureDefs = []

        self.refused(self.changed(tmp_path, change), tmp_path, "has 2 outputs")

    def test_nothing_to_put_branches_beside(self, tmp_path):
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
        (tmp_path / "plain.tflite").write_bytes(converted(model, "float32", images(1)))
        self.refused(tmp_path / "plain.tflite", tmp_path, "no residual", method="lite_residual")


def test_tflite_micro(tmp_path):
    pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    report = tflite_export.make_trainable(file("int8"), tmp_path / "model.tflite", num_classes=3, runtime="micro")
    assert report.max_difference < 1e-3
