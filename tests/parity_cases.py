"""The vectors of the official modules (`../shared/parity`), each rebuilt as a Keras model.

`load(name)` gives a `Case`: the model holds the official weights, and every expected gradient stands under the path of
the Keras variable that it belongs to. All arrays are channels-last float32 here; the files are NCHW float64.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

import tinytl_keras
from tinytl_keras import layers
from tinytl_keras.backbones.proxyless_nas import inverted_residual

DIRECTORY = Path(__file__).parents[2] / "shared" / "parity"


@dataclass(frozen=True)
class Case:
    """One official module.

    Attributes:
        model: The Keras model, in which every weight but BatchNormalization's statistics trains. A constant main
            branch is its second input.
        inputs: Its inputs, by the inputs' names: `x`, and `main` where it has two.
        outputs: What it must give, `[batch, height, width, channels]`.
        cotangent: The gradient of the loss with respect to the outputs.
        input_gradients: The expected gradients with respect to the inputs, by name.
        gradients: Those of the weights, by `variable.path`.
    """

    model: keras.Model
    inputs: dict[str, np.ndarray]
    outputs: np.ndarray
    cotangent: np.ndarray
    input_gradients: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]


def names() -> list[str]:
    """The files that hold a module: all but the resize matrices and the losses."""
    return sorted(path.stem for path in DIRECTORY.glob("*.npz") if path.stem.split("_")[0] in _BUILDERS)


def load(name: str) -> Case:
    """Rebuilds one file's module, `name` being one of `names()`."""
    with np.load(DIRECTORY / f"{name}.npz") as file:
        data = {key: file[key] for key in file.files}
    config = json.loads(str(data["meta/config_json"]))
    model, layer_of = _BUILDERS[name.split("_")[0]](data, config)
    gradients = {}
    for module, layer in layer_of.items():
        for weight in layer.weights:
            group, theirs = _OFFICIAL_NAMES[weight.name]
            weight.assign(_weight(data[f"{group}/{module}.{theirs}"], weight))
            if group == "param":
                gradients[weight.path] = _weight(data[f"grad/{module}.{theirs}"], weight)
    assert {variable.path for variable in model.trainable_variables} == set(gradients)
    maps = {"x": ("x", "gx"), "main": ("main_out", "g_main_out")}
    maps = {tensor.name: maps[tensor.name] for tensor in model.inputs}
    return Case(
        model=model,
        inputs={ours: _map(data[theirs]) for ours, (theirs, _) in maps.items()},
        outputs=_map(data["y"]),
        cotangent=_map(data["gy"]),
        input_gradients={ours: _map(data[gradient]) for ours, (_, gradient) in maps.items()},
        gradients=gradients,
    )


def resize_cases() -> list[tuple[tuple[int, int], tuple[int, int], np.ndarray]]:
    """(size, new size, matrix [rows of the old map, of the new map]) of `bilinear_matrices`."""
    cases = []
    with np.load(DIRECTORY / "bilinear_matrices.npz") as file:
        for key in file.files:
            before, after = key.removeprefix("upsample_").split("_to_")
            cases.append((*(tuple(map(int, size.split("x"))) for size in (before, after)), file[key].astype("float32")))
    return cases


def losses() -> dict[str, np.ndarray]:
    """`loss_lr`: logits, labels, losses and their gradients by label smoothing, the learning rate schedule."""
    with np.load(DIRECTORY / "loss_lr.npz") as file:
        return {key: file[key] for key in file.files}


_OFFICIAL_NAMES = {
    "kernel": ("param", "weight"),
    "gamma": ("param", "weight"),
    "beta": ("param", "bias"),
    "moving_mean": ("buffer", "running_mean"),
    "moving_variance": ("buffer", "running_var"),
}


def _weight(values: np.ndarray, weight: keras.Variable) -> np.ndarray:
    """Official `[out, in, height, width]`, depthwise `[channels, 1, height, width]` -> the Keras variable's layout."""
    if values.ndim == 4:
        depthwise = values.shape[1] == weight.shape[3] == 1
        values = values.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    assert tuple(weight.shape) == values.shape, (weight.path, weight.shape, values.shape)
    return values.astype("float32")


def _map(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1), "float32")


def _input(data: dict[str, np.ndarray], key: str, name: str) -> keras.KerasTensor:
    _, channels, height, width = data[key].shape
    return keras.Input((height, width, channels), name=name)


def _standardized_convolution(data, config):
    inputs = _input(data, "x", "x")
    padded = keras.layers.ZeroPadding2D(config["pad"])(inputs)
    arguments = {"strides": config["stride"], "use_bias": False, "name": "conv"}
    if config["groups"] == config["cin"]:
        layer = layers.WeightStandardizedDepthwiseConv2D(config["k"], **arguments)
    else:
        layer = layers.WeightStandardizedConv2D(config["cout"], config["k"], groups=config["groups"], **arguments)
    return keras.Model(inputs, layer(padded)), {"conv": layer}


def _lite_residual(config, kernel_size: int, pool: int | None) -> layers.LiteResidual:
    mode = config["mode"]
    return layers.LiteResidual(
        kernel_size=kernel_size,
        pool=pool,
        norm="batch" if mode == "bn_eval" else "group",
        weight_standardization=mode == "gn_ws",
        name="lite_residual",
    )


def _official_branch(layer: layers.LiteResidual, prefix: str) -> dict[str, keras.layers.Layer]:
    modules = ("conv1", "bn1", "conv2", "final_bn")
    return {f"{prefix}{module}": part for module, part in zip(modules, layer.branch_layers, strict=True)}


def _branch(data, config):
    inputs, main = _input(data, "x", "x"), _input(data, "main_out", "main")
    layer = _lite_residual(config, config["kernel_size_arg"], config["downsample"])
    return keras.Model([inputs, main], layer(inputs, main)), _official_branch(layer, "lite_residual.")


def _block(data, config):
    """A block of `ProxylessNASMobile`, converted: the branch must find its place and its kernel."""
    batch = config["mode"] == "bn_eval"
    inputs = _input(data, "x", "x")
    outputs = inverted_residual(
        inputs, config["k"], config["expand"], config["cout"], config["stride"], "batch" if batch else "group", "0"
    )
    settings = tinytl_keras.LiteResidualConfig(norm="batch" if batch else "group")
    model = tinytl_keras.convert(keras.Model(inputs, outputs), "full", branches=True, lite_residual=settings)
    parts = {"inverted_bottleneck": "expand", "depth_conv": "depthwise", "point_linear": "project"}
    layer_of = {}
    for theirs, ours in parts.items():
        layer_of[f"conv.main_branch.{theirs}.conv"] = model.get_layer(f"proxyless_0_{ours}")
        layer_of[f"conv.main_branch.{theirs}.bn"] = model.get_layer(f"proxyless_0_{ours}_norm")
    layer_of |= _official_branch(model.get_layer("proxyless_0_lite_residual"), "conv.lite_residual.")
    return model, layer_of


_BUILDERS = {"wsconv": _standardized_convolution, "lite": _branch, "block": _block}
