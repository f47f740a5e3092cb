"""Small models of every shape that convert() knows, and what the tests ask of them."""

import keras
import numpy as np
from keras import layers

SIZE = 8


def images(count: int = 4, size: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size, 3)).astype("float32")


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight, biases and statistics included, a value that no initializer gives."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(generator.uniform(0.05, 0.4, weight.shape))
    return model


def cnn() -> keras.Model:
    return randomized(
        keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 3)),
                layers.Conv2D(6, 3, strides=2, name="conv"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(),
                layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
                layers.GroupNormalization(3, name="group_norm"),
                layers.SeparableConv2D(4, 2, name="separable"),
                layers.LayerNormalization(name="layer_norm"),
                layers.GlobalAveragePooling2D(),
                layers.Dropout(0.2),
                layers.Dense(3, name="dense"),
                layers.Softmax(),
            ],
            name="cnn",
        )
    )


def mobilenet(include_top: bool = True) -> keras.Model:
    top = {"classes": 10} if include_top else {}
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, include_top=include_top, **top)
    return randomized(model)


def nested() -> keras.Model:
    """A model with a frozen model inside, which holds another one."""
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(5, 3, name="conv"), layers.BatchNormalization(name="norm")], name="inner"
    )
    inputs = keras.Input((SIZE, SIZE, 3))
    backbone = keras.Model(inputs, inner(layers.Conv2D(4, 3, name="stem")(inputs)), name="backbone")
    backbone.trainable = False
    pooled = layers.GlobalAveragePooling2D()
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), backbone, pooled, layers.Dense(2, name="dense")], name="nested"
    )
    return randomized(model)


def shared() -> keras.Model:
    """One convolution and one model, called twice each."""
    conv = layers.Conv2D(3, 3, padding="same", name="conv")
    block = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Conv2D(4, 1, name="point")], name="block")
    inputs = keras.Input((SIZE, SIZE, 3))
    once = conv(inputs)
    added = layers.Add()([block(once), block(conv(once))])
    outputs = layers.Dense(2, name="dense")(layers.Flatten()(added))
    return randomized(keras.Model(inputs, outputs, name="shared"))


def two_in_two_out() -> keras.Model:
    left, right = keras.Input((SIZE, SIZE, 3), name="left"), keras.Input((SIZE, SIZE, 3), name="right")
    joined = layers.Concatenate()(
        [layers.Conv2D(2, 3, name="conv_left")(left), layers.Conv2D(2, 3, name="conv_right")(right)]
    )
    features = layers.GlobalAveragePooling2D()(joined)
    outputs = {
        "kind": layers.Dense(3, activation="softmax", name="kind")(features),
        "size": layers.Dense(1, name="size")(features),
    }
    return randomized(keras.Model([left, right], outputs, name="two_in_two_out"))


def residual() -> keras.Model:
    """A stem, an inverted residual block that does not expand, one with a skip and one with stride 2."""
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(inputs))
    for name, expansion, strides in (("zero", 1, 1), ("one", 2, 1), ("two", 2, 2)):
        y = x
        if expansion > 1:
            y = layers.Conv2D(8 * expansion, 1, use_bias=False, name=f"{name}_expand")(y)
            y = layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_expand_norm")(y))
        y = layers.DepthwiseConv2D(3, strides, padding="same", name=f"{name}_depthwise")(y)
        y = layers.Conv2D(8, 1, use_bias=False, name=f"{name}_project")(layers.ReLU(6.0)(y))
        y = layers.BatchNormalization(name=f"{name}_project_norm")(y)
        x = layers.Add(name=f"{name}_add")([y, x]) if name == "one" else y
    outputs = layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D()(x))
    return randomized(keras.Model(inputs, outputs, name="residual"))


def with_operations() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    features = keras.ops.relu(layers.Conv2D(4, 3, name="conv")(inputs)) * 2 + 1
    logits = layers.Dense(3, name="dense")(keras.ops.mean(features, axis=(1, 2)))
    return randomized(keras.Model(inputs, keras.ops.softmax(logits, axis=-1), name="with_operations"))


MODELS = {
    "cnn": cnn,
    "mobilenet": mobilenet,
    "nested": nested,
    "residual": residual,
    "shared": shared,
    "two_in_two_out": two_in_two_out,
    "with_operations": with_operations,
}


def inputs_of(model: keras.Model, count: int = 4) -> list[np.ndarray] | np.ndarray:
    batches = [images(count, tensor.shape[1], seed) for seed, tensor in enumerate(model.inputs)]
    return batches if len(batches) > 1 else batches[0]


def outputs_of(model: keras.Model, inputs) -> list[np.ndarray]:
    return [np.asarray(output) for output in keras.tree.flatten(model(inputs))]


def values_of(model: keras.Model) -> list[np.ndarray]:
    return [weight.numpy().copy() for weight in model.weights]


def trained_names(model: keras.Model) -> list[str]:
    """`layer/weight` of what trains, without the names of models inside."""
    return ["/".join(weight.path.split("/")[-2:]) for weight in model.trainable_variables]
