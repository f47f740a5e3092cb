"""The lite residual branch, beside a layer or block or beside a tensor of a graph."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tflite_export.lite_residual import CHANNELS_PER_GROUP, NORM_EPSILON
from tinytl_keras.layers.batch_normalization import BatchNormalization
from tinytl_keras.layers.group_convolution import GroupConv2D
from tinytl_keras.layers.group_normalization import GroupNormalization
from tinytl_keras.layers.weight_standardization import WeightStandardizedConv2D
from tinytl_keras.lite_residual import LiteResidualConfig, make_divisible


@keras.saving.register_keras_serializable(package="tinytl")
class LiteResidual(keras.layers.Layer):
    """A block with a lite residual branch: `main(x) + lite(x)` (paper, section 3.3).

    `lite(x)` is average pooling -> group convolution -> normalization -> activation -> 1x1 convolution ->
    normalization -> bilinear resizing to the size of `main(x)`. It works on a small map with few channels, so
    what its training has to store is small. The last gamma starts at 0: until trained, the layer is `main`.

    ```python
    x = LiteResidual(keras.layers.Conv2D(32, 3, strides=2, padding="same"))(x)   # around a layer or model
    y = LiteResidual()(x, y)                            # beside any part of a graph, from x to y: y + lite(x)
    ```

    An identity shortcut is added behind it, without an activation between: `Add()([LiteResidual(main)(x), x])`.

    Args:
        main: The layer or model that the branch stands beside, called with one argument. None, the default: the
            layer is called with two tensors, the block's input and its main path's output.
        kernel_size: Of the group convolution, odd, padded by `kernel_size // 2` on all sides. Defaults to 5.
        groups: Defaults to 2; the greatest common divisor with the convolution's channels is taken.
        expand: Output channels of the group convolution by input channels, then rounded to a multiple of 8.
        pool: Window and step of the average pooling, whose last incomplete windows are dropped. Defaults to 2. None:
            the global form: the mean of the whole map, a 1x1 group convolution, and no resizing; also what a map
            that is smaller than the window gets.
        norm: `"group"` (8 channels a group, epsilon 1e-3), or `"batch"`, with stored statistics. Defaults to `"group"`.
        activation: Behind the first normalization. Defaults to `"relu"`.
        zero_init: Whether the last gamma starts at 0. Defaults to True; False: at 1.
        strides: Height and width steps of the group convolution: the block's. None, the default: the rounded ratio
            of input size to output size.
        weight_standardization: Whether both kernels are standardized in use, as in the paper's own nets, see
            `WeightStandardizedConv2D`. Defaults to False.
        frozen: Weights of the branch that never train, e.g. `["last_norm/beta"]`. Defaults to none. The weights are
            `group_conv/kernel`, `norm/gamma`, `norm/beta`, `point_conv/kernel`, `last_norm/gamma`, `last_norm/beta`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`; with `main=None` also the main path's output, of rank 4 too.
    Output shape: The main path's.

    Raises:
        ValueError: An argument is out of range, `frozen` names no weight of the branch, a tensor is not of rank 4,
            or `main` and a second tensor are both given, or neither; or the size of the map is not known and
            `strides` is None.
    """

    def __init__(
        self,
        main: keras.layers.Layer | None = None,
        *,
        kernel_size: int = 5,
        groups: int = 2,
        expand: float = 1.0,
        pool: int | None = 2,
        norm: str = "group",
        activation: Any = "relu",
        zero_init: bool = True,
        strides: int | Sequence[int] | None = None,
        weight_standardization: bool = False,
        frozen: Sequence[str] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if main is not None and not isinstance(main, keras.layers.Layer):
            raise ValueError(f"`main` must be a keras.layers.Layer or keras.Model, or None. Received: main={main!r}")
        self._settings = LiteResidualConfig(
            kernel_size, groups, expand, 1 if pool is None else pool, norm, activation, zero_init
        )
        self.main = main
        self.pool = pool
        self.strides = (strides, strides) if isinstance(strides, int) else strides and tuple(strides)
        self.weight_standardization = weight_standardization
        self.frozen = tuple(frozen)
        unknown = [name for name in self.frozen if name not in BRANCH_WEIGHTS]
        if isinstance(frozen, str) or unknown:
            raise ValueError(f"`frozen` must be a list of names among {BRANCH_WEIGHTS}. Received: frozen={frozen!r}")
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, main_outputs_shape=None):
        if self.main is not None:
            if main_outputs_shape is not None:
                raise ValueError(
                    f"Lite residual {self.name!r} has a `main` layer, so it is called with one tensor. Received: two"
                )
            main_outputs_shape = self._main_outputs_shape(inputs_shape)
        self._check_shapes(inputs_shape, main_outputs_shape)
        sizes = [(size, out) for size, out in zip(inputs_shape[1:3], main_outputs_shape[1:3])]
        self.is_global = self.pool is None or any(size is not None and size < self.pool for size, _ in sizes)
        steps = (1, 1) if self.is_global else self.strides or tuple(_step(*size) for size in sizes)
        kernel = 1 if self.is_global else self._settings.kernel_size
        channels, filters = inputs_shape[-1], main_outputs_shape[-1]
        middle = make_divisible(int(channels * self._settings.expand))
        groups = math.gcd(self._settings.groups, channels, middle)
        conv = WeightStandardizedConv2D if self.weight_standardization else GroupConv2D
        gamma = "zeros" if self._settings.zero_init else "ones"

        self.padding = keras.layers.ZeroPadding2D(kernel // 2, dtype=self.dtype_policy)
        self.group_conv = self._layer(
            conv, "group_conv", filters=middle, kernel_size=kernel, strides=steps, groups=groups
        )
        self.norm = self._norm("norm", "ones")
        self.point_conv = self._layer(conv, "point_conv", filters=filters, kernel_size=1)
        self.last_norm = self._norm("last_norm", gamma)
        self.group_conv.build((None, None, None, channels))
        self.norm.build((None, None, None, middle))
        self.point_conv.build((None, None, None, middle))
        self.last_norm.build((None, None, None, filters))

    @property
    def branch_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The branch's layers with weights, in order."""
        return (self.group_conv, self.norm, self.point_conv, self.last_norm)

    def call(self, inputs, main_outputs=None):
        if self.main is not None:
            main_outputs = self.main(inputs)
        return ops.add(main_outputs, self.branch(inputs, main_outputs))

    def branch(self, inputs: Any, main_outputs: Any) -> Any:
        """The lite residual of `inputs` in the size of `main_outputs`, or of one point in the global form."""
        if self.is_global:
            pooled = ops.mean(inputs, axis=(1, 2), keepdims=True)
        else:
            pooled = inputs if self.pool == 1 else ops.average_pool(inputs, self.pool, padding="valid")
        if self.group_conv.kernel_size[0] > 1:
            pooled = self.padding(pooled)
        lite = self.activation(self.norm(self.group_conv(pooled)))
        lite = self.last_norm(self.point_conv(lite))
        if self.is_global:
            return lite
        size = ops.shape(main_outputs)[1:3]
        if None not in lite.shape[1:3] and lite.shape[1:3] == main_outputs.shape[1:3]:
            return lite
        return ops.cast(ops.image.resize(lite, size, "bilinear", data_format="channels_last"), lite.dtype)

    def compute_output_shape(self, inputs_shape, main_outputs_shape=None):
        return main_outputs_shape if self.main is None else self._main_outputs_shape(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        settings = {**dataclasses.asdict(self._settings), "pool": self.pool}
        settings["activation"] = keras.activations.serialize(self.activation)
        return {
            **super().get_config(),
            **settings,
            "main": keras.saving.serialize_keras_object(self.main),
            "strides": self.strides,
            "weight_standardization": self.weight_standardization,
            "frozen": list(self.frozen),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LiteResidual":
        main = config["main"]
        if isinstance(main, dict):
            main = keras.saving.deserialize_keras_object(main)
        return cls(**{**config, "main": main})

    def _main_outputs_shape(self, inputs_shape: Any) -> tuple[int | None, ...]:
        """Calls the main layer symbolically: few classes have a `compute_output_shape`, and all are built by a call."""
        return tuple(self.main(keras.KerasTensor(inputs_shape, dtype=self.compute_dtype)).shape)

    def _layer(self, cls: type, name: str, **arguments: Any) -> Any:
        frozen = [weight.split("/")[1] for weight in self.frozen if weight.startswith(f"{name}/")]
        if issubclass(cls, keras.layers.Conv2D):
            arguments |= {"use_bias": False, "data_format": "channels_last"}
        return cls(**arguments, frozen=frozen, name=name, dtype=self.dtype_policy)

    def _norm(self, name: str, gamma: str) -> Any:
        arguments = {"epsilon": NORM_EPSILON, "gamma_initializer": gamma}
        if self._settings.norm == "batch":
            return self._layer(BatchNormalization, name, **arguments)
        return self._layer(GroupNormalization, name, channels_per_group=CHANNELS_PER_GROUP, **arguments)

    def _check_shapes(self, inputs_shape: Any, main_outputs_shape: Any) -> None:
        if main_outputs_shape is None:
            raise ValueError(
                f"Lite residual {self.name!r} stands beside nothing. Give it a `main` layer, or call it with two "
                "tensors: the block's input and its main path's output."
            )
        if len(inputs_shape) != 4 or len(main_outputs_shape) != 4 or inputs_shape[-1] is None:
            raise ValueError(
                f"Lite residual {self.name!r} needs maps [batch, height, width, channels]. Received: input of shape "
                f"{tuple(inputs_shape)}, main output of shape {tuple(main_outputs_shape)}"
            )
        if self.strides is None and None in (*inputs_shape[1:3], *main_outputs_shape[1:3]):
            raise ValueError(
                f"Lite residual {self.name!r} cannot tell its strides: the map's size is not known, input "
                f"{tuple(inputs_shape)}, main output {tuple(main_outputs_shape)}. Pass `strides`."
            )


BRANCH_WEIGHTS = (
    "group_conv/kernel",
    "norm/gamma",
    "norm/beta",
    "point_conv/kernel",
    "last_norm/gamma",
    "last_norm/beta",
)


def _step(size: int, output_size: int) -> int:
    return max(1, round(size / output_size))
