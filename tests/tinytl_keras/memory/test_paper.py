"""The paper's accounting against the paper's table, and against sums made by hand."""

import keras
import pytest
from keras import layers

import tinytl_keras
from tinytl_keras import memory_report
from tinytl_keras.backbones import ProxylessNASMobile

CLASSES = 102  # of Flowers
SIZES = {size: ProxylessNASMobile((size, size, 3), norm="group") for size in (224, 288, 320)}


def proxyless(size, method):
    return tinytl_keras.convert(SIZES[size], method, num_classes=CLASSES, branches=True)


@pytest.mark.parametrize(
    ("method", "megabytes", "trainable", "frozen", "parameter_bytes", "peak"),
    [
        ("last", 30.83, 130_662, 4_615_928, 5_138_576, 3_211_264),
        ("bias", 31.69, 151_638, 4_594_952, 5_201_504, 3_311_616),
        ("lite_residual", 37.08, 1_947_078, 2_799_512, 10_587_824, 3_311_616),
        ("lite_residual+bias", 37.13, 1_962_310, 2_784_280, 10_633_520, 3_311_616),
        ("norm+last", 192.42, 172_614, 4_573_976, 5_264_432, 23_394_620),
        ("full", 390.84, 4_746_590, 0, 18_986_360, 46_482_132),
    ],
)
def test_the_papers_table(method, megabytes, trainable, frozen, parameter_bytes, peak):
    """ProxylessNAS-Mobile, 224 px, batch 8, branches in every row, recomputed with the paper's own code."""
    report = memory_report(proxyless(224, method), 8, accounting="paper")
    assert (report.trainable_parameters, report.frozen_parameters) == (trainable, frozen)
    assert report.parameter_bytes == parameter_bytes
    assert report.peak_activation_bytes == peak
    assert report.total_bytes == 8 * peak + parameter_bytes
    assert round(report.total_bytes / 1e6, 2) == megabytes


def test_other_sizes_of_the_paper():
    """65 MB at 320 px; the abstract's 16 MB are batch 1 at 288 px."""
    assert (
        round(memory_report(proxyless(320, "lite_residual+bias"), 8, accounting="paper").total_bytes / 1e6, 2) == 64.70
    )
    assert round(memory_report(proxyless(288, "lite_residual+bias"), 1, accounting="paper").total_bytes / 1e6) == 16


def test_what_is_stored_of_lite_residual_and_bias():
    """21.3 MB at batch 8: "paper: frozen GroupNorm stores nothing, forward only"."""
    report = memory_report(proxyless(224, "lite_residual+bias"), 8, accounting="paper")
    stored = sum(row.stored_bytes for row in report.layers)
    assert round(stored / 1e6, 1) == 21.3
    assert report.layers[0].reach_bytes == stored
    assert report.layers[-1].reach_bytes == report.layers[-1].stored_bytes == 8 * 1280 * 4


def rows(model, **options):
    report = memory_report(model, accounting="paper", **options)
    return {row.name: (row.forward_bytes, row.stored_bytes, row.peak_bytes) for row in report.layers}


def cnn():
    return keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.ZeroPadding2D(1),
            layers.Conv2D(8, 3, groups=2, use_bias=False, name="conv"),  # 6x6x4 -> 6x6x8
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, strides=2, padding="same", activation="hard_silu", name="depthwise"),  # -> 3x3x8
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="dense"),
        ]
    )


def test_full_by_hand():
    """Maps of 144, 288 and 72 values, 4 bytes each. The padding's map counts as the one before it."""
    conv, norm, relu = 576 + 1152 // 2, 1152, 1152
    stored = [576, 1152, 1152 // 32, 1152, 4 * 72, 4 * 8]
    expected = {
        "conv": (1152, 576, conv),
        "norm": (1152, 1152, norm + 576),
        "relu": (1152, 36, relu + 576 + 1152),
        "dense": (20, 32, 32 + 20 + sum(stored[:5])),
    }
    found = rows(tinytl_keras.convert(cnn(), "full"))
    assert {name: found[name] for name in expected} == expected
    report = memory_report(tinytl_keras.convert(cnn(), "full"), accounting="paper")
    names = [(row.name, row.forward_bytes, row.stored_bytes) for row in report.layers]
    assert names[3:5] == [("depthwise", 288, 1152), ("depthwise", 288, 288)]  # itself, and its activation
    depthwise = 1152 + 288 // 8 + sum(stored[:3])
    assert [row.peak_bytes for row in report.layers][3:5] == [depthwise, 288 + sum(stored[:4])]
    parameters = 3 * 3 * 2 * 8 + 4 * 8 + (9 * 8 + 8) + (8 * 5 + 5)
    assert (report.trainable_parameters, report.frozen_parameters) == (parameters - 16, 16)  # the statistics
    assert report.parameter_bytes == 4 * (parameters - 16) + 16
    assert report.peak_activation_bytes == max(row.peak_bytes for row in report.layers)


@pytest.mark.parametrize(
    ("method", "stored"),
    [
        ("last", {"dense": 32}),
        ("bias", {"relu": 36, "depthwise": 288, "dense": 32}),
        ("norm+last", {"norm": 1152, "relu": 36, "depthwise": 288, "dense": 32}),
    ],
)
def test_what_each_method_stores(method, stored):
    """Activations only if anything below the classifier trains; a normalization's input only if its gamma does."""
    report = memory_report(tinytl_keras.convert(cnn(), method), 3, accounting="paper")
    assert {row.name: row.stored_bytes for row in report.layers if row.stored_bytes} == {
        name: 3 * count for name, count in stored.items()
    }


def residual(shortcut):
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(2, 1, name="stem")(inputs)
    y = layers.Conv2D(6, 1, name="expand")(x)
    y = layers.Conv2D(2, 1, name="project")(y)
    x = layers.Conv2D(2, 1, name="shortcut")(x) if shortcut == "projected" else x
    x = layers.Add()([x, y])
    outputs = layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D()(x))
    return tinytl_keras.convert(keras.Model(inputs, outputs), "last")


def test_an_identity_shortcut_is_held_by_every_layer_of_its_block():
    """Maps of 32 and 96 values; the block's input counts beside what its first layer reads."""
    found = {name: peak for name, (_, _, peak) in rows(residual("identity")).items()}
    assert found == {"stem": 256, "expand": 128 + 384 + 128, "project": 384 + 128 + 128, "dense": 8 + 12}


def test_a_projected_shortcut_is_held_as_long_as_it_waits():
    found = {name: peak for name, (_, _, peak) in rows(residual("projected")).items()}
    first, second = found["shortcut"], found["project"]  # Keras runs them in this order or the other
    assert found["expand"] == 128 + 384 + 128
    assert sorted((first, second)) in ([128 + 128 + 128, 384 + 128 + 128], [128 + 128 + 384, 384 + 128 + 128])


def test_a_map_that_two_layers_store_is_stored_once():
    inputs = keras.Input((8,))
    x = layers.Dense(4, name="first")(inputs)
    joined = layers.Concatenate()([layers.Dense(4, name="left")(x), layers.Dense(4, name="right")(x)])
    model = keras.Model(inputs, layers.Dense(2, name="last")(joined))
    assert {name: stored for name, (_, stored, _) in rows(model).items()} == {
        "first": 32,
        "left": 16,
        "right": 0,
        "last": 32,
    }


def test_other_activations_and_layers():
    inputs = keras.Input((4, 4, 8))
    x = layers.Conv2D(8, 1, activation="leaky_relu", name="conv")(inputs)
    x = layers.PReLU(name="prelu")(x)
    x = keras.ops.silu(x)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Reshape((16, 8))(x)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    outputs = layers.Dense(2, name="dense")(layers.Flatten()(layers.Dropout(0.5)(x)))
    report = memory_report(keras.Model(inputs, outputs), accounting="paper")
    values = 4 * 128  # bytes of every map
    assert [(row.name.rstrip("_0123456789"), row.stored_bytes) for row in report.layers] == [
        ("conv", values),
        ("conv", 128 // 8),
        ("prelu", values),
        ("silu", values),
        ("norm", values),
        ("attention", values),
        ("dense", values),
    ]


@pytest.mark.parametrize("method", ["bias", "lite_residual+bias", "full"])
def test_a_network_with_batch_normalization(method):
    """Twice the batch takes twice the activations, and what trains more takes more."""
    network = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None)
    one, two = (
        memory_report(tinytl_keras.convert(network, method, num_classes=4), batch, accounting="paper")
        for batch in (1, 2)
    )
    assert two.total_bytes - one.total_bytes == one.peak_activation_bytes == two.peak_activation_bytes
    assert (
        one.trainable_parameters + one.frozen_parameters
        == tinytl_keras.convert(network, method, num_classes=4).count_params()
    )
    assert one.parameter_bytes == 4 * one.trainable_parameters + one.frozen_parameters
    assert {row.block for row in one.layers} > {f"block_{i}" for i in range(1, 17)}
