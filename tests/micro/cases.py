"""All goldens, by family."""

from tests.micro import convolution_cases, map_cases, quantized_cases, update_cases

FAMILIES = {
    "convolution": convolution_cases.convolutions,
    "pointwise": convolution_cases.pointwises,
    "depthwise": convolution_cases.depthwises,
    "bias": update_cases.biases,
    "update": update_cases.updates,
    "norm": update_cases.norms,
    "elementwise": update_cases.elementwise,
    "pool": map_cases.pools,
    "global average": map_cases.global_averages,
    "resize": map_cases.resizes,
    "group norm": map_cases.group_norms,
    "loss": map_cases.losses,
    "int8 layer": quantized_cases.layers,
    "int8 conversion": quantized_cases.conversions,
    "int8 addition": quantized_cases.additions,
    "int8 pool": quantized_cases.pools,
    "int8 activation": quantized_cases.activations,
    "int8 resize": quantized_cases.resized_sums,
}
