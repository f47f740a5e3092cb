"""One C call for every operator: `call(op, names)` is its text."""

from __future__ import annotations

from collections.abc import Callable

from tflite_export.graph import Op, Tensor
from tflite_export.micro.forms import image
from tflite_export.micro.number import float_literal
from tflite_export.micro.params import is_pointwise, params
from tflite_export.micro.requantization import Requantization, activation_range, requantization


class Names:
    """How C calls what operators read and write.

    Args:
        tensor: the expression of a tensor, a pointer to its first element.
        params: the expression of a parameter block, by its type and its text.
        workspace: pointer and size of an operator's workspace.
        variable: the expression of a variable's block.
        scale: that of a quantised kernel's scales.
        requantization: that of the block with which an int8 layer's sums become its output.
    """

    def __init__(
        self,
        tensor: Callable[[Tensor | None], str],
        params: Callable[[str, str], str],
        workspace: Callable[[Op], str],
        variable: Callable[[object], str],
        scale: Callable[[Tensor], str],
        requantization: Callable[[Requantization], str],
    ):
        self.tensor, self.params, self.workspace = tensor, params, workspace
        self.variable, self.scale, self.requantization = variable, scale, requantization


def call(op: Op, names: Names) -> list[str]:
    """The calls of kernels that run `op`: C expressions of the type tinytl_status."""
    return _CALLS[op.kind](op, names)


def _block(op: Op, names: Names) -> str:
    return names.params(*params(op))


def _kernel(op: Op, tensor: Tensor, names: Names) -> tuple[str, str]:
    """The function's ending, and the arguments kernel and scale."""
    if tensor.dtype == "int8":
        return "", f"{names.tensor(tensor)}, {names.scale(tensor)}"
    return "_f32", names.tensor(tensor)


def _family(op: Op) -> str:
    if op.kind.startswith("depthwise"):
        return "depthwise"
    return "pointwise" if is_pointwise(op) else "conv"


def _saved(op: Op, role: str, names: Names) -> str:
    saves = op.attributes.get("saves", ())
    return names.tensor(op.outputs[1 + saves.index(role)]) if role in saves else "NULL"


def _convolution(op: Op, names: Names) -> list[str]:
    x, kernel, bias = op.inputs
    y, mask = names.tensor(op.outputs[0]), _saved(op, "mask", names)
    if x.dtype == "int8":
        return [
            f"tinytl_{_family(op)}_forward_s8({_block(op, names)}, {names.requantization(requantization(op))}, "
            f"{names.tensor(x)}, {names.tensor(kernel)}, {names.tensor(bias)}, {y}, {mask}, {names.workspace(op)})"
        ]
    ending, weights = _kernel(op, kernel, names)
    return [
        f"tinytl_{_family(op)}_forward{ending}({_block(op, names)}, {names.tensor(x)}, {weights}, "
        f"{names.tensor(bias)}, {y}, {mask}, {names.workspace(op)})"
    ]


def _below(op: Op, names: Names) -> str:
    """The arguments mask_below and accumulate of an input gradient."""
    mask = names.tensor(op.inputs[-1]) if op.attributes.get("mask_below") else "NULL"
    return f"{mask}, {_accumulates(op)}"


def _accumulates(op: Op) -> str:
    return "true" if op.attributes.get("accumulates") else "false"


def _input_gradient(op: Op, names: Names) -> list[str]:
    dy, kernel = op.inputs[:2]
    ending, weights = _kernel(op, kernel, names)
    return [
        f"tinytl_{_family(op)}_input_gradient{ending}({_block(op, names)}, {names.tensor(dy)}, {weights}, "
        f"{_below(op, names)}, {names.tensor(op.outputs[0])}, {names.workspace(op)})"
    ]


def _kernel_update(op: Op, names: Names) -> list[str]:
    x, dy = map(names.tensor, op.inputs)
    variable = names.variable(op.attributes["variable"])
    return [f"tinytl_{_family(op)}_kernel_update({_block(op, names)}, {x}, {dy}, {variable}, &optimizer)"]


def _kernel_gradient(op: Op, names: Names) -> list[str]:
    x, dy = map(names.tensor, op.inputs)
    gradient = names.tensor(op.outputs[0])
    return [
        _cleared(op.outputs[0], names),
        f"tinytl_{_family(op)}_kernel_gradient({_block(op, names)}, {x}, {dy}, {gradient})",
    ]


def _cleared(tensor: Tensor, names: Names) -> str:
    return f"tinytl_clear({names.tensor(tensor)}, {tensor.size})"


def _pixels(tensor: Tensor) -> str:
    height, width, channels = image(tensor)
    return f"{height * width}, {channels}"


def _bias_update(op: Op, names: Names) -> list[str]:
    dy, mask = op.inputs
    variable = names.variable(op.attributes["variable"])
    return [f"tinytl_bias_update({names.tensor(dy)}, {names.tensor(mask)}, {_pixels(dy)}, {variable}, &optimizer)"]


def _bias_gradient(op: Op, names: Names) -> list[str]:
    (dy,) = op.inputs
    gradient = names.tensor(op.outputs[0])
    return [
        _cleared(op.outputs[0], names),
        f"tinytl_bias_gradient({names.tensor(dy)}, NULL, {_pixels(dy)}, {gradient})",
    ]


def _masked(op: Op, names: Names) -> list[str]:
    dy, mask = map(names.tensor, op.inputs)
    return [f"tinytl_mask_apply({dy}, {mask}, {_pixels(op.outputs[0])}, {names.tensor(op.outputs[0])})"]


def _activation(op: Op) -> str:
    return f"TINYTL_ACTIVATION_{op.attributes.get('activation', 'NONE')}"


def _quantization(tensor: Tensor, names: Names) -> str:
    (scale,), (zero_point,) = tensor.quantization.scale, tensor.quantization.zero_point
    return names.params("tinytl_quantization", f"{{{float_literal(scale)}, {zero_point}}}")


def _range(op: Op) -> str:
    return ", ".join(map(str, activation_range(op)))


def _add(op: Op, names: Names) -> list[str]:
    a, b = map(names.tensor, op.inputs)
    y, mask = names.tensor(op.outputs[0]), _saved(op, "mask", names)
    if op.outputs[0].dtype == "int8":
        scales = [_quantization(t, names) for t in (*op.inputs, op.outputs[0])]
        inputs = f"{a}, {scales[0]}, {b}, {scales[1]}"
        return [f"tinytl_add_s8({inputs}, {_pixels(op.outputs[0])}, {scales[2]}, {_range(op)}, {y}, {mask})"]
    return [f"tinytl_add({a}, {b}, {_pixels(op.outputs[0])}, {_activation(op)}, {y}, {mask})"]


def _binary(function: str):
    def text(op: Op, names: Names) -> list[str]:
        a, b = map(names.tensor, op.inputs)
        return [f"{function}({a}, {b}, {op.outputs[0].size}, {names.tensor(op.outputs[0])})"]

    return text


def _rectify(op: Op, names: Names) -> list[str]:
    x, y = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    mask = _saved(op, "mask", names)
    if op.outputs[0].dtype == "int8":
        return [f"tinytl_activate_s8({x}, {_pixels(op.outputs[0])}, {_range(op)}, {y}, {mask})"]
    return [f"tinytl_activate({x}, {_pixels(op.outputs[0])}, {_activation(op)}, {y}, {mask})"]


def _scale(op: Op, names: Names) -> list[str]:
    function = "tinytl_pixels_to_float" if op.kind == "pixels" else "tinytl_scale_offset"
    x, y = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    if op.outputs[0].dtype == "int8":
        return [f"tinytl_pixels_to_int8({x}, {op.outputs[0].size}, {y})"]
    factors = ", ".join(float_literal(op.attributes[name]) for name in ("multiplier", "offset"))
    return [f"{function}({x}, {op.outputs[0].size}, {factors}, {y})"]


def _group_norm(op: Op, names: Names) -> list[str]:
    x, gamma, beta = map(names.tensor, op.inputs)
    saved = ", ".join(_saved(op, role, names) for role in ("mean", "rstd", "mask"))
    return [
        f"tinytl_group_norm_forward({_block(op, names)}, {x}, {gamma}, {beta}, {names.tensor(op.outputs[0])}, {saved})"
    ]


def _group_norm_gradient(op: Op, names: Names) -> list[str]:
    x, gamma, dy, mean, rstd = map(names.tensor, op.inputs[:5])
    made = dict(zip(op.attributes["roles"], op.outputs, strict=True))
    dx, dgamma, dbeta = (names.tensor(made.get(role)) for role in ("x", "gamma", "beta"))
    vectors = [_cleared(made[role], names) for role in ("gamma", "beta") if role in made]
    return [
        *vectors,
        f"tinytl_group_norm_gradient({_block(op, names)}, {x}, {dy}, {gamma}, {mean}, {rstd}, {dgamma}, {dbeta}, "
        f"{_below(op, names)}, {dx})",
    ]


def _pool(op: Op, names: Names) -> list[str]:
    x, y = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    argmax = f", {_saved(op, 'argmax', names)}" if op.kind == "max_pool" else ""
    ending = "_s8" if op.outputs[0].dtype == "int8" else ""
    return [f"tinytl_{op.kind}_forward{ending}({_block(op, names)}, {x}, {y}{argmax})"]


def _average_pool_gradient(op: Op, names: Names) -> list[str]:
    dy, dx = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    return [f"tinytl_average_pool_input_gradient({_block(op, names)}, {dy}, {_below(op, names)}, {dx})"]


def _max_pool_gradient(op: Op, names: Names) -> list[str]:
    (dy, argmax), dx = map(names.tensor, op.inputs[:2]), names.tensor(op.outputs[0])
    return [f"tinytl_max_pool_input_gradient({_block(op, names)}, {dy}, {argmax}, {_below(op, names)}, {dx})"]


def _mean(op: Op, names: Names) -> list[str]:
    x, y = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    if op.inputs[0].dtype == "int8":
        scale = _quantization(op.inputs[0], names)
        return [f"tinytl_global_average_forward_s8({_block(op, names)}, {scale}, {x}, {y})"]
    return [f"tinytl_global_average_forward({_block(op, names)}, {x}, {y})"]


def _mean_gradient(op: Op, names: Names) -> list[str]:
    dy, dx = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    return [f"tinytl_global_average_input_gradient({_block(op, names)}, {dy}, {_below(op, names)}, {dx})"]


def _bilinear(op: Op, names: Names) -> list[str]:
    x, y = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    return [f"tinytl_resize_bilinear_forward({_block(op, names)}, {x}, {_accumulates(op)}, {y})"]


def _bilinear_add(op: Op, names: Names) -> list[str]:
    x, a, y = map(names.tensor, (*op.inputs, op.outputs[0]))
    scales = ", ".join(_quantization(t, names) for t in (op.inputs[1], op.outputs[0]))
    return [f"tinytl_resize_bilinear_add_s8({_block(op, names)}, {x}, {a}, {scales}, {y})"]


def _convert(op: Op, names: Names) -> list[str]:
    (x,), (y,) = op.inputs, op.outputs
    scale = _quantization(y if op.kind == "quantize" else x, names)
    return [f"tinytl_{op.kind}({names.tensor(x)}, {y.size}, {scale}, {names.tensor(y)})"]


def _quantize_bias(op: Op, names: Names) -> list[str]:
    (bias, kernel), (y,) = op.inputs, op.outputs
    steps = f"{names.scale(kernel)}, {float_literal(op.attributes['input_scale'])}"
    return [f"tinytl_quantize_bias({names.tensor(bias)}, {steps}, {y.size}, {names.tensor(y)})"]


def _bilinear_gradient(op: Op, names: Names) -> list[str]:
    dy, dx = names.tensor(op.inputs[0]), names.tensor(op.outputs[0])
    return [f"tinytl_resize_bilinear_input_gradient({_block(op, names)}, {dy}, {_accumulates(op)}, {dx})"]


def _cross_entropy(op: Op, names: Names) -> list[str]:
    logits, y = map(names.tensor, op.inputs)
    return [f"tinytl_{op.kind}({_block(op, names)}, {logits}, {y}, {names.tensor(op.outputs[0])}, &result)"]


def _update(op: Op, names: Names) -> list[str]:
    (gradient,) = op.inputs
    variable = names.variable(op.attributes["variable"])
    return [f"tinytl_update(&optimizer, {variable}, {names.tensor(gradient)}, {gradient.size})"]


def _nothing(op: Op, names: Names) -> list[str]:
    return []


_CALLS = {
    "READ_VARIABLE": _nothing,
    "reshape": _nothing,
    "conv": _convolution,
    "depthwise": _convolution,
    "conv_input_gradient": _input_gradient,
    "depthwise_input_gradient": _input_gradient,
    "conv_kernel_update": _kernel_update,
    "conv_kernel_gradient": _kernel_gradient,
    "bias_update": _bias_update,
    "bias_gradient": _bias_gradient,
    "masked": _masked,
    "add": _add,
    "subtract": _binary("tinytl_subtract"),
    "multiply": _binary("tinytl_multiply"),
    "rectify": _rectify,
    "scale": _scale,
    "pixels": _scale,
    "group_norm": _group_norm,
    "group_norm_gradient": _group_norm_gradient,
    "average_pool": _pool,
    "max_pool": _pool,
    "average_pool_gradient": _average_pool_gradient,
    "max_pool_gradient": _max_pool_gradient,
    "mean": _mean,
    "mean_gradient": _mean_gradient,
    "bilinear": _bilinear,
    "bilinear_add": _bilinear_add,
    "bilinear_gradient": _bilinear_gradient,
    "quantize": _convert,
    "dequantize": _convert,
    "quantize_bias": _quantize_bias,
    "sparse_cross_entropy": _cross_entropy,
    "dense_cross_entropy": _cross_entropy,
    "squared_error": _cross_entropy,
    "binary_cross_entropy": _cross_entropy,
    "update": _update,
}
