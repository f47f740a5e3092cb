"""The parameter blocks of the kernels: constants in flash."""

from __future__ import annotations

from tflite_export.graph import Op, Tensor
from tflite_export.micro.forms import image
from tflite_export.micro.number import float_literal


def params(op: Op) -> tuple[str, str]:
    """The type of an operator's parameter block, and its C initialiser; a layer's gradients take the layer's block."""
    if op.kind.startswith(("conv", "depthwise")):
        return _convolution(op)
    if op.kind.startswith(("average_pool", "max_pool")):
        x, y = _ends(op)
        return "tinytl_pool_params", f"{{{_shape(x)}, {_shape(y)}, {_window(op.attributes['window'], op)}}}"
    if op.kind.startswith("mean"):
        return "tinytl_shape", _shape(_ends(op)[0])
    if op.kind.startswith("bilinear"):
        x, y = _ends(op)
        return "tinytl_resize_params", f"{{{_shape(x)}, {_shape(y)}}}"
    if op.kind.startswith("group_norm"):
        settings = f"{op.attributes['groups']}, {float_literal(op.attributes['epsilon'])}, {_activation(op)}"
        return "tinytl_group_norm_params", f"{{{_shape(op.inputs[0])}, {settings}}}"
    classes = op.inputs[0].size
    return "tinytl_loss_params", f"{{1, {classes}, {float_literal(op.attributes['label_smoothing'])}, 0.0f}}"


def _convolution(op: Op) -> tuple[str, str]:
    x, y = _ends(op)
    if is_pointwise(op):
        height, width, channels = image(x)
        block = f"{{{height * width}, {channels}, {image(y)[2]}, {_activation(op)}}}"
        return "tinytl_pointwise_params", block
    window = _window(kernel_shape(op)[1:3], op)
    if op.kind.startswith("depthwise"):
        return "tinytl_depthwise_params", f"{{{_shape(x)}, {_shape(y)}, {window}, {_activation(op)}}}"
    return "tinytl_conv_params", f"{{{_shape(x)}, {_shape(y)}, {window}, {op.attributes['groups']}, {_activation(op)}}}"


def _ends(op: Op) -> tuple[Tensor, Tensor]:
    """Input and output of the layer that `op` is of, forward or backward."""
    if op.kind.endswith(("kernel_update", "kernel_gradient")):
        return op.inputs[0], op.inputs[1]
    if op.kind.endswith("gradient"):
        return op.outputs[0], op.inputs[0]
    return op.inputs[0], op.outputs[0]


def kernel_shape(op: Op) -> tuple[int, ...]:
    """[out, height, width, in / groups] of a convolution's kernel; [1, height, width, channels] if depthwise."""
    shape = op.attributes["kernel"] if "kernel" in op.attributes else op.inputs[1].shape
    return shape if len(shape) == 4 else (shape[0], 1, 1, shape[1])


def is_pointwise(op: Op) -> bool:
    if not op.kind.startswith("conv"):
        return False
    attributes = op.attributes
    plain = attributes["stride"] == (1, 1) and attributes["padding"] == ((0, 0), (0, 0)) and attributes["groups"] == 1
    return plain and kernel_shape(op)[1:3] == (1, 1)


def _activation(op: Op) -> str:
    return f"TINYTL_ACTIVATION_{op.attributes.get('activation', 'NONE')}"


def _shape(tensor: Tensor) -> str:
    return f"{{1, {', '.join(map(str, image(tensor)))}}}"


def _window(size, op: Op) -> str:
    (top, _), (left, _) = op.attributes["padding"]
    return f"{{{', '.join(map(str, (*size, *op.attributes['stride'], top, left)))}}}"
