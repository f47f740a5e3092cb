"""One operator in the evaluator."""

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Op, Tensor

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(size=shape)


def constant(value, dtype=None):
    data = np.asarray(value, dtype)
    return Tensor("constant", data.shape, data.dtype.name, data)


def run(kind, arrays, outputs, precision="float64", **attributes):
    """Runs one operator. float64 arrays become float32 inputs; other arrays (axes, shapes) become constants."""
    inputs = [
        None if a is None else Tensor(f"x{i}", a.shape, "float32") if a.dtype == np.float64 else constant(a)
        for i, a in enumerate(arrays)
    ]
    outputs = outputs if isinstance(outputs, list) else [outputs]
    outputs = [o if isinstance(o, Tensor) else Tensor(f"y{i}", o) for i, o in enumerate(outputs)]
    named = {t.name: t for t in inputs if t is not None and not t.is_constant}
    graph = Graph(kind, named, {t.name: t for t in outputs}, (Op(kind, tuple(inputs), tuple(outputs), attributes),))
    feeds = {t.name: a for t, a in zip(inputs, arrays) if t is not None and t.name in named}
    results = evaluate(graph, feeds, precision=precision)
    return results["y0"] if len(outputs) == 1 else [results[t.name] for t in outputs]


def agree(kind, arrays, expected, dtype="float32", **attributes):
    expected = np.asarray(expected)
    got = run(kind, arrays, Tensor("y0", expected.shape, dtype), **attributes)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11, err_msg=kind)
