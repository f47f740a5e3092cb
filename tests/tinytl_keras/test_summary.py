"""summary() against counts made by hand."""

import keras
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import cnn, mobilenet, nested, residual, shared


def test_counts_by_hand():
    """Kernel 3·3·3·4 + bias 4; normalization 4·4; dense 4·2 + 2."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="dense"),
        ]
    )
    summary = tinytl_keras.summary(tinytl_keras.convert(model, "bias"))
    rows = [(row.name, row.trains, row.trainable_parameters, row.frozen_parameters) for row in summary.rows]
    assert rows == [
        ("conv", ("bias",), 4, 108),
        ("norm", ("beta",), 4, 12),
        ("dense", ("kernel", "bias"), 10, 0),
    ]
    assert (summary.trainable_parameters, summary.frozen_parameters, summary.trainable_bytes) == (18, 120, 72)


def test_bytes_follow_the_dtype():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype="bfloat16")])
    assert tinytl_keras.summary(model).trainable_bytes == 8 * 2


@pytest.mark.parametrize("build", [cnn, nested, shared, residual])
@pytest.mark.parametrize("method", tinytl_keras.METHODS)
def test_sums_are_those_of_the_model(build, method):
    converted = tinytl_keras.convert(build(), method, branches=build is residual)
    summary = tinytl_keras.summary(converted)
    assert summary.trainable_parameters + summary.frozen_parameters == converted.count_params()
    trained = sum(weight.numpy().size for weight in converted.trainable_variables)
    assert summary.trainable_parameters == trained
    assert summary.trainable_bytes == 4 * trained


def test_models_inside_are_opened():
    names = [row.name for row in tinytl_keras.summary(tinytl_keras.convert(nested(), "bias")).rows]
    assert names == ["backbone/stem", "backbone/inner/conv", "backbone/inner/norm", "dense"]


@pytest.mark.parametrize(
    "model",
    [
        mobilenet(),
        keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=2, include_top=False),
        nested(),
    ],
)
def test_table_fits_80_columns(model):
    summary = tinytl_keras.summary(tinytl_keras.convert(model, "bias"))
    lines = str(summary).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == len(summary.rows) + 4
    assert f"{summary.trainable_parameters:,} parameters" in lines[-1]


def test_branches_have_rows():
    """8 channels in, 8 in the middle, groups of 4: 3·3·4·8 and 8·8 in the kernels, four vectors of 8."""
    rows = tinytl_keras.summary(tinytl_keras.convert(residual())).rows
    branch = next(row for row in rows if row.name == "one_lite_residual")
    assert branch.class_name == "LiteResidual"
    assert branch.trains == ("kernel", "gamma", "beta")
    assert (branch.trainable_parameters, branch.frozen_parameters) == (288 + 64 + 24, 8)


def test_the_main_layer_of_a_lite_residual_has_its_own_row():
    inputs = keras.Input((8, 8, 3))
    main = layers.Conv2D(4, 3, name="main")
    model = keras.Model(inputs, tinytl_keras.layers.LiteResidual(main, name="lite")(inputs))
    summary = tinytl_keras.summary(model)
    assert [row.name for row in summary.rows] == ["lite/main", "lite"]
    assert summary.trainable_parameters == model.count_params()


def test_refusals():
    with pytest.raises(TypeError, match="must be a keras.Model. Received"):
        tinytl_keras.summary("model")
    with pytest.raises(ValueError, match="has no weights yet"):
        tinytl_keras.summary(keras.Sequential([layers.Dense(2)]))
