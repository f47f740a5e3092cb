"""The models of zoo.py: what Keras and keras_cv ship, with random weights, and small nets of other shapes.

All are built without a download: `weights=None`, and keras_cv's class constructors (its presets and alias classes fetch
from a hub).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping

import keras
from keras import layers

CLASSES = 10
_SMALL_IMAGE = (32, 32, 3)
_SPECTROGRAM = (49, 40)  # a second of speech: frames of 20 ms, bands
_FRAMES, _FRAME_SIZE = 8, 32


@dataclasses.dataclass(frozen=True)
class ZooModel:
    """A way to make a model.

    Attributes:
        build: gives the model for images of this many rows and columns; the small ones have sizes of their own.
        classes: outputs of the new head that replaces the model's own; None: it keeps its outputs.
        loss: of each output.
        pixels: whether the model scales its images by itself: it takes 0 to 255.
    """

    build: Callable[[int], keras.Model]
    classes: int | None = CLASSES
    loss: str | Mapping[str, str] = "sparse_categorical_crossentropy"
    pixels: bool = False


def application(name: str, size: int, **options) -> keras.Model:
    """That of `keras.applications`, with its own top, which `convert` replaces."""
    build = getattr(keras.applications, name)
    return build(input_shape=(size, size, 3), weights=None, classes=CLASSES, **options)


def keras_cv_resnet(size: int) -> keras.Model:
    """ResNet-18 with basic blocks."""
    return _keras_cv().ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        include_rescaling=False,
        input_shape=(size, size, 3),
    )


def keras_cv_densenet(size: int) -> keras.Model:
    """DenseNet-121's blocks, at half its growth rate."""
    return _keras_cv().DenseNetBackbone(
        stackwise_num_repeats=[6, 12, 24, 16], growth_rate=16, include_rescaling=False, input_shape=(size, size, 3)
    )


def keras_cv_efficientnet_lite(size: int) -> keras.Model:
    """EfficientNet-Lite0."""
    return _keras_cv().EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        include_rescaling=False,
        input_shape=(size, size, 3),
    )


def keras_cv_efficientnet_v2(size: int) -> keras.Model:
    """Three stages of EfficientNetV2, whose blocks are layers that hide their convolutions."""
    return _keras_cv().EfficientNetV2Backbone(
        stackwise_kernel_sizes=[3, 3, 3],
        stackwise_num_repeats=[1, 2, 2],
        stackwise_input_filters=[16, 16, 32],
        stackwise_output_filters=[16, 32, 48],
        stackwise_expansion_ratios=[1, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.0, 0.25],
        stackwise_strides=[1, 2, 2],
        stackwise_conv_types=["fused", "fused", "unfused"],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        include_rescaling=False,
        input_shape=(size, size, 3),
    )


def keras_cv_mobilenet_v3(size: int) -> keras.Model:
    """MobileNetV3-Small."""
    models = _keras_cv()
    backbone = importlib.import_module("keras_cv.src.models.backbones.mobilenet_v3.mobilenet_v3_backbone")
    activation = backbone.HardSigmoidActivation
    activation.from_config = classmethod(lambda cls, config: cls())  # its own gives __init__ a name, which takes none
    return models.MobileNetV3Backbone(
        stackwise_expansion=[1, 72.0 / 16, 88.0 / 24, 4, 6, 6, 3, 3, 6, 6, 6],
        stackwise_filters=[16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96],
        stackwise_kernel_size=[3, 3, 3, *[5] * 8],
        stackwise_stride=[2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1],
        stackwise_se_ratio=[0.25, None, None, *[0.25] * 8],
        stackwise_activation=[*["relu"] * 3, *["hard_swish"] * 8],
        include_rescaling=False,
        input_shape=(size, size, 3),
    )


def _keras_cv():
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError('keras-cv is not installed: pip install "tinytl-keras[models]"') from error
    return keras_cv.models


def sequential_cnn(size: int) -> keras.Model:
    """Convolutions with biases, batch normalization, both kinds of pooling, two dense layers."""
    return keras.Sequential(
        [
            keras.Input(_SMALL_IMAGE),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(2),
            layers.Conv2D(24, 3, padding="same", use_bias=False, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(),
            layers.AveragePooling2D(2),
            layers.Conv2D(32, 3, strides=2, activation="relu", name="conv3"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(48, activation="relu", name="hidden"),
            layers.Dense(CLASSES, activation="softmax", name="classifier"),
        ],
        name="sequential_cnn",
    )


def nested_backbone(size: int) -> keras.Model:
    """A whole network as one layer, and a head: how transfer learning is written in Keras's own guide."""
    backbone = keras.applications.MobileNetV2((size, size, 3), alpha=0.35, weights=None, include_top=False)
    image = keras.Input((size, size, 3), name="image")
    features = layers.GlobalAveragePooling2D()(backbone(image, training=False))
    return keras.Model(image, layers.Dense(CLASSES, name="classifier")(features), name="nested_backbone")


def shared_layers(size: int) -> keras.Model:
    """One convolution and one block that are each called twice."""
    conv = layers.Conv2D(12, 3, padding="same", activation="relu", name="conv")
    block = keras.Sequential(
        [
            keras.Input((*_SMALL_IMAGE[:2], 12)),
            layers.Conv2D(24, 1, activation="relu", name="expand"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise"),
            layers.Conv2D(12, 1, name="project"),
        ],
        name="block",
    )
    image = keras.Input(_SMALL_IMAGE, name="image")
    x = conv(layers.Conv2D(12, 3, padding="same", name="stem")(image))
    x = layers.Add()([x, block(x)])
    x = layers.Add()([block(x), conv(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES, name="classifier")(x), name="shared_layers")


def two_inputs(size: int) -> keras.Model:
    """A picture and a vector of readings."""
    image, readings = keras.Input(_SMALL_IMAGE, name="image"), keras.Input((6,), name="readings")
    x = _residual_features(image)
    y = layers.Dense(16, activation="relu", name="embed")(readings)
    x = layers.Dense(24, activation="relu", name="join")(layers.Concatenate()([x, y]))
    return keras.Model([image, readings], layers.Dense(CLASSES, name="classifier")(x), name="two_inputs")


def two_outputs(size: int) -> keras.Model:
    """What it is, of `CLASSES`, and how large, two numbers."""
    image = keras.Input(_SMALL_IMAGE, name="image")
    x = _residual_features(image)
    outputs = {"kind": layers.Dense(CLASSES, name="kind")(x), "size": layers.Dense(2, name="size")(x)}
    return keras.Model(image, outputs, name="two_outputs")


def _residual_features(image):
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.Conv2D(16, 3, padding="same", use_bias=False, name="block_conv")(x)
    x = layers.ReLU()(layers.Add()([layers.BatchNormalization(name="block_norm")(y), x]))
    return layers.GlobalAveragePooling2D()(x)


def keyword_spotting(size: int) -> keras.Model:
    """A 1-D depthwise separable net on a spectrogram [frames, bands], as for keyword spotting."""
    sound = keras.Input(_SPECTROGRAM, name="spectrogram")
    x = layers.Conv1D(32, 5, strides=2, padding="same", use_bias=False, name="stem")(sound)
    x = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(x))
    for number, strides in enumerate((1, 2, 1)):
        y = layers.SeparableConv1D(32, 5, strides, "same", use_bias=False, name=f"separable_{number}")(x)
        y = layers.BatchNormalization(name=f"norm_{number}")(y)
        x = layers.ReLU()(layers.Add()([x, y]) if strides == 1 else y)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(sound, layers.Dense(CLASSES, name="classifier")(x), name="keyword_spotting")


@keras.saving.register_keras_serializable(package="tinytl_zoo")
class TemporalShift(layers.Layer):
    """Moves an eighth of the channels one frame back and another one forth (Lin et al., TSM, ICCV 2019).

    Args:
        frames: of a clip.

    Input shape, output shape: [batch · frames, height, width, channels].
    """

    def __init__(self, frames: int, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, inputs):
        ops = keras.ops
        *_, height, width, channels = inputs.shape
        x = ops.reshape(inputs, (-1, self.frames, height * width, channels))
        part = channels // 8
        later = ops.pad(x[:, 1:, :, :part], [(0, 0), (0, 1), (0, 0), (0, 0)])
        earlier = ops.pad(x[:, :-1, :, part : 2 * part], [(0, 0), (1, 0), (0, 0), (0, 0)])
        x = ops.concatenate([later, earlier, x[..., 2 * part :]], axis=-1)
        return ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}


def temporal_shift(size: int) -> keras.Model:
    """A clip of frames through a 2-D net whose inverted residual blocks shift channels in time."""
    clip = keras.Input((_FRAMES, _FRAME_SIZE, _FRAME_SIZE, 3), name="clip")
    x = keras.ops.reshape(clip, (-1, _FRAME_SIZE, _FRAME_SIZE, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="stem_norm")(x))
    for number, strides in enumerate((1, 2, 1)):
        y = TemporalShift(_FRAMES, name=f"shift_{number}")(x)
        y = layers.Conv2D(48, 1, use_bias=False, name=f"block_{number}_expand")(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization(name=f"block_{number}_expand_norm")(y))
        depthwise = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name=f"block_{number}_depthwise")
        y = layers.ReLU(6.0)(layers.BatchNormalization(name=f"block_{number}_depthwise_norm")(depthwise(y)))
        y = layers.Conv2D(16, 1, use_bias=False, name=f"block_{number}_project")(y)
        y = layers.BatchNormalization(name=f"block_{number}_project_norm")(y)
        x = layers.Add()([x, y]) if strides == 1 else y
    x = layers.GlobalAveragePooling2D()(x)
    x = keras.ops.mean(keras.ops.reshape(x, (-1, _FRAMES, x.shape[-1])), axis=1)
    return keras.Model(clip, layers.Dense(CLASSES, name="classifier")(x), name="temporal_shift")


def autoencoder(size: int) -> keras.Model:
    """Dense, of the readings of a machine; the error of its copy says how unusual they are."""
    readings = keras.Input((64,), name="readings")
    x = readings
    for name, units in {"encode": 48, "code": 16, "decode": 48}.items():
        x = layers.Dense(units, activation="relu", name=name)(x)
    return keras.Model(readings, layers.Dense(64, name="copy")(x), name="autoencoder")


def _applications():
    pixels = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny")
    names = (
        *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0"),
        *("ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3", "NASNetMobile", "ConvNeXtTiny"),
    )
    return {name: ZooModel(functools.partial(application, name), pixels=name in pixels) for name in names}


_BOTH_LOSSES = {"kind": "sparse_categorical_crossentropy", "size": "mean_squared_error"}

ZOO = {
    "sequential CNN": ZooModel(sequential_cnn),
    "dense autoencoder": ZooModel(autoencoder, classes=None, loss="mean_squared_error"),
    "shared layers": ZooModel(shared_layers),
    "two inputs": ZooModel(two_inputs),
    "two outputs": ZooModel(two_outputs, classes=None, loss=_BOTH_LOSSES),
    "keyword spotting 1-D": ZooModel(keyword_spotting),
    "temporal shift video": ZooModel(temporal_shift),
    "nested backbone": ZooModel(nested_backbone),
    "keras_cv MobileNetV3": ZooModel(keras_cv_mobilenet_v3),
    "keras_cv EfficientNetV2": ZooModel(keras_cv_efficientnet_v2),
    "keras_cv EfficientNetLite": ZooModel(keras_cv_efficientnet_lite),
    "keras_cv ResNet": ZooModel(keras_cv_resnet),
    "keras_cv DenseNet": ZooModel(keras_cv_densenet),
    **_applications(),
}
