"""Runs a Graph op by op; the kernels stand in the sibling modules, one module per family."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tflite_export.evaluate import (
    canonical,
    convolution,
    elementwise,
    pooling,
    quantization,
    reduction,
    shape,
    tinytl,
)
from tflite_export.graph import CANONICAL, Graph, Op, Tensor, Variable

KERNELS = {
    **elementwise.KERNELS,
    **reduction.KERNELS,
    **shape.KERNELS,
    **convolution.KERNELS,
    **pooling.KERNELS,
    **canonical.KERNELS,
    **quantization.KERNELS,
    **tinytl.KERNELS,
}


def evaluate(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    variables: dict[Variable, np.ndarray] | None = None,
    *,
    precision: str = "float64",
) -> dict[str, np.ndarray]:
    """Runs `graph` once.

    Args:
        graph: in execution order.
        inputs: one array per name in ``graph.inputs``, of exactly its shape.
        variables: the state, changed in place by ASSIGN_VARIABLE. A variable that is absent has its initial value.
        precision: "float64" computes every float32 tensor in double precision, "float32" as it stands.

    Returns:
        One array per name in ``graph.outputs``; float32 tensors come in `precision`.

    Quantised tensors pass between operators as stored integers. Operators other than CAST compute on the real values
    they stand for, and round only when a quantised output is stored; LiteRT's hybrid kernels, which also round the
    activations, differ by that much.

    Raises:
        ValueError: an input is missing, unknown or of another shape, an operator is unknown, or its result does not
            have the shape that the graph declares.
    """
    if precision not in ("float32", "float64"):
        raise ValueError(f'precision must be "float32" or "float64". Received: precision={precision!r}')
    if set(inputs) != set(graph.inputs):
        raise ValueError(f"{graph.name!r} expects inputs {sorted(graph.inputs)}. Received: {sorted(inputs)}")
    variables = {} if variables is None else variables
    values: dict[Tensor, np.ndarray] = {}
    for name, tensor in graph.inputs.items():
        value = np.asarray(inputs[name])
        if value.shape != tensor.shape:
            raise ValueError(f"Input {name!r} of {graph.name!r} expects shape {tensor.shape}. Received: {value.shape}")
        values[tensor] = value.astype(_storage(tensor.dtype, precision))

    def value_of(tensor):
        if tensor is None:
            return None
        if tensor.is_constant:
            return np.asarray(tensor.data).reshape(tensor.shape).astype(_storage(tensor.dtype, precision))
        if tensor not in values:
            raise ValueError(f"{tensor} of {graph.name!r} is read before any operator has written it")
        return values[tensor]

    with np.errstate(all="ignore"):  # infinities and NaN are results here, as they are on the device
        for op in graph.ops:
            operands = tuple(value_of(tensor) for tensor in op.inputs)
            for tensor, result in zip(op.outputs, _run(op, operands, variables), strict=True):
                values[tensor] = _store(op, tensor, result, precision)
    return {name: value_of(tensor) for name, tensor in graph.outputs.items()}


def _run(op: Op, operands, variables) -> tuple[np.ndarray, ...]:
    if op.kind == "READ_VARIABLE":
        variable = op.attributes["variable"]
        return (np.array(variables.get(variable, variable.initial)),)
    if op.kind == "ASSIGN_VARIABLE":
        variables[op.attributes["variable"]] = np.array(operands[0]).reshape(op.attributes["variable"].shape)
        return ()
    if op.kind not in KERNELS:
        raise ValueError(f"The evaluator has no kernel for {op.kind}: {op} (origin {op.origin!r})")
    results = KERNELS[op.kind](op, *quantization.real_operands(op, operands))
    results = results if isinstance(results, tuple) else (results,)
    activation = op.attributes.get("fused_activation_function", "NONE")
    if activation == "NONE" or op.kind in CANONICAL:
        return results
    if activation not in elementwise.ACTIVATIONS:
        raise ValueError(f"The evaluator does not know the fused activation {activation!r} of {op}")
    return (elementwise.ACTIVATIONS[activation](results[0]), *results[1:])


def _store(op: Op, tensor: Tensor, result: np.ndarray, precision: str) -> np.ndarray:
    result = np.asarray(result)
    if result.shape != tensor.shape:
        raise ValueError(f"{op} gives shape {result.shape}, but its output {tensor.name!r} is declared {tensor.shape}")
    if quantization.is_quantized(tensor) and op.kind not in quantization.STORED:
        return quantization.quantize(result, tensor)
    return result.astype(_storage(tensor.dtype, precision))


def _storage(dtype: str, precision: str) -> np.dtype:
    return np.dtype(precision if dtype == "float32" else dtype)
