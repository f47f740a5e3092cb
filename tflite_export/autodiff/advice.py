"""What to use in place of operators that have no gradient rule, by kind."""

_STEPS = "it is constant nearly everywhere, so nothing before it can learn: leave it out"

ADVICE = {
    **dict.fromkeys(("FLOOR", "CEIL", "ROUND", "SIGN", "ARG_MAX", "ARG_MIN", "FLOOR_DIV", "FLOOR_MOD"), _STEPS),
    "CUMSUM": "use a BATCH_MATMUL with a triangular matrix (keras.ops.matmul)",
    "REDUCE_PROD": "use the exponential of a SUM of logarithms (keras.ops.exp, sum and log)",
    "REDUCE_ANY": _STEPS,
    "REDUCE_ALL": _STEPS,
    "L2_POOL_2D": "use the square root of an AVERAGE_POOL_2D of squares",
    "LOCAL_RESPONSE_NORMALIZATION": "use keras.layers.GroupNormalization",
    "TOPK_V2": "use a maximum (keras.ops.max), which is the first of them",
    "CUSTOM": "build the layer of standard Keras layers",
}
