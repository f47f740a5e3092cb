"""ProxylessNAS-Mobile (Cai, Zhu, Han, ICLR 2019), the network of the paper's experiments."""

from collections.abc import Sequence
from typing import Any

import keras

from tinytl_keras import layers
from tinytl_keras._branches import PAPER_PREFIX
from tinytl_keras.layers.lite_residual import CHANNELS_PER_GROUP, NORM_EPSILON
from tinytl_keras.lite_residual import NORMS, make_divisible

FIRST_CHANNELS = 32
LAST_CHANNELS = 1280

PROXYLESS_MOBILE = (
    # kernel, expansion, output channels, stride
    (3, 1, 16, 1),
    (5, 3, 32, 2),
    (3, 3, 32, 1),
    (7, 3, 40, 2),
    (3, 3, 40, 1),
    (5, 3, 40, 1),
    (5, 3, 40, 1),
    (7, 6, 80, 2),
    (5, 3, 80, 1),
    (5, 3, 80, 1),
    (5, 3, 80, 1),
    (5, 6, 96, 1),
    (5, 3, 96, 1),
    (5, 3, 96, 1),
    (5, 3, 96, 1),
    (7, 6, 192, 2),
    (7, 6, 192, 1),
    (7, 3, 192, 1),
    (7, 3, 192, 1),
    (7, 6, 320, 1),
)
"""The inverted residual blocks of ProxylessNAS-Mobile: (kernel, expansion, output channels, stride)."""


def ProxylessNASMobile(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int | None = 1000,
    width: float = 1.0,
    norm: str = "batch",
    blocks: Sequence[tuple[int, int, int, int]] = PROXYLESS_MOBILE,
) -> keras.Model:
    """Builds ProxylessNAS-Mobile, or the network of another list of blocks, with random weights.

    A 3x3 convolution of stride 2, the inverted residual blocks, a 1x1 convolution, global average pooling and a
    linear classifier; ReLU6 throughout. A block whose stride is 1 and whose channels do not change adds its input.
    Padding is `kernel // 2` on all sides, as in PyTorch, from which pretrained weights come; Keras's "same" differs
    at stride 2.

    Args:
        input_shape: `(height, width, channels)` of the images.
        classes: Outputs (logits). None: the model ends with the pooled features.
        width: Multiplies all channels, rounded to multiples of 8; those of the last convolution only where above 1.
        norm: `"batch"`: BatchNormalization. `"group"`: the paper's setting, GroupNormalization of 8 channels a group
            and weight-standardized convolutions.
        blocks: Of each block (kernel, expansion of the input channels, output channels, stride).

    Returns:
        A functional `keras.Model`, `[batch, height, width, channels]` -> `[batch, classes]`. Its layers are called
        `proxyless_first_conv`, `proxyless_<block>_expand`, `…_depthwise`, `…_project`, …, `proxyless_last_conv`,
        `proxyless_logits`; with these names `tinytl_keras.convert` knows the paper's own nets.

    Raises:
        ValueError: `norm` is neither, `width` is not above 0, or a block is no such tuple.
    """
    if norm not in NORMS:
        raise ValueError(f"`norm` must be one of {NORMS}. Received: norm={norm!r}")
    if not width > 0:
        raise ValueError(f"`width` must be above 0. Received: width={width!r}")
    for block in blocks:
        if len(block) != 4 or not all(isinstance(number, int) and number > 0 for number in block) or block[0] % 2 == 0:
            raise ValueError(
                "Each of `blocks` must be (kernel, expansion, output channels, stride), positive integers, the kernel "
                f"odd. Received: {block!r}"
            )
    inputs = keras.Input(input_shape)
    x = _convolution(inputs, make_divisible(FIRST_CHANNELS * width), 3, "first_conv", norm, strides=2)
    for index, (kernel, expansion, filters, stride) in enumerate(blocks):
        x = inverted_residual(x, kernel, expansion, make_divisible(filters * width), stride, norm, str(index))
    x = _convolution(x, make_divisible(LAST_CHANNELS * max(width, 1)), 1, "last_conv", norm)
    outputs = keras.layers.GlobalAveragePooling2D(name=f"{PAPER_PREFIX}pooling")(x)
    if classes is not None:
        outputs = keras.layers.Dense(classes, name=f"{PAPER_PREFIX}logits")(outputs)
    return keras.Model(inputs, outputs, name="proxyless_nas_mobile")


def inverted_residual(
    x: keras.KerasTensor, kernel: int, expansion: int, filters: int, stride: int, norm: str, name: str
) -> keras.KerasTensor:
    """Builds one block: expand (left out at expansion 1), depthwise, project, and the input added where shapes allow.

    Args:
        x: `[batch, height, width, channels]`.
        kernel, expansion, filters, stride: As in the list of blocks; `filters` as it is, no width applied.
        norm: `"batch"` or `"group"`, as for `ProxylessNASMobile`.
        name: What the block is called; its layers are `proxyless_<name>_expand`, ….

    Returns:
        `[batch, ceil(height / stride), ceil(width / stride), filters]`.
    """
    y, channels = x, x.shape[-1]
    if expansion > 1:
        y = _convolution(y, channels * expansion, 1, f"{name}_expand", norm)
    y = _convolution(y, None, kernel, f"{name}_depthwise", norm, strides=stride)
    y = _convolution(y, filters, 1, f"{name}_project", norm, activation=False)
    if stride == 1 and channels == filters:
        return keras.layers.Add(name=f"{PAPER_PREFIX}{name}_add")([y, x])
    return y


def _convolution(
    x: Any, filters: int | None, kernel: int, name: str, norm: str, *, strides: int = 1, activation: bool = True
) -> Any:
    """Padding, convolution (depthwise where `filters` is None), normalization and ReLU6."""
    name = f"{PAPER_PREFIX}{name}"
    standardized = norm == "group"
    if kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    arguments = {"strides": strides, "use_bias": False, "data_format": "channels_last", "name": name}
    if filters is None:
        cls = layers.WeightStandardizedDepthwiseConv2D if standardized else keras.layers.DepthwiseConv2D
        x = cls(kernel_size=kernel, depthwise_initializer="he_normal", **arguments)(x)
    else:
        cls = layers.WeightStandardizedConv2D if standardized else keras.layers.Conv2D
        x = cls(filters, kernel, kernel_initializer="he_normal", **arguments)(x)
    if standardized:
        normalization = layers.GroupNormalization(
            channels_per_group=CHANNELS_PER_GROUP, epsilon=NORM_EPSILON, name=f"{name}_norm"
        )
    else:
        normalization = keras.layers.BatchNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm")
    x = normalization(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x
