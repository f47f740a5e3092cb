"""The same graph on another number of rows computes the same, row by row."""

import numpy as np
import pytest

from tflite_export.builder import Builder, constant, integers
from tflite_export.evaluate import evaluate
from tflite_export.from_tflite.rebatch import rebatched
from tflite_export.graph import Graph, Tensor


def graph_of(build, batch: int, *shape: int) -> Graph:
    b, x = Builder(), Tensor("x", (batch, *shape))
    return Graph("main", {"x": x}, {"output": build(b, x)}, ()).replace(ops=tuple(b.ops))


def convolution_and_flatten(b, x):
    kernel = constant(np.random.default_rng(0).normal(size=(4, 3, 3, 2)))
    y = b.conv_2d(x, kernel, (2, 2), ((1, 0), (0, 1)))
    y = b.reshape(y, (x.shape[0], y.size // x.shape[0]))
    return b.slice(y, (0, 1), (x.shape[0], 3))


def rows_and_pixels(b, x):
    """The batch and the pixels on one axis, and back."""
    n, h, w, c = x.shape
    y = b.reshape(x, (n * h * w, c))
    return b.reshape(b.batch_matmul(y, constant(np.ones((c, 3)))), (n, h, w, 3))


def computed_shape(b, x):
    shape = b.op("SHAPE", (x,), (4,), "int32")
    batch = b.op("STRIDED_SLICE", (shape, integers([0]), integers([1]), integers([1])), (), "int32", shrink_axis_mask=1)
    shape = b.op("PACK", (batch, Tensor("rest", (), "int32", np.array(-1, np.int32))), (2,), "int32", axis=0)
    return b.op("RESHAPE", (x, shape), (x.shape[0], x.size // x.shape[0]))


@pytest.mark.parametrize("build", [convolution_and_flatten, rows_and_pixels, computed_shape])
@pytest.mark.parametrize("batch,rows", [(1, 3), (2, 1), (4, 6), (1, 1)])
def test_every_row_is_as_before(build, batch, rows):
    graph = graph_of(build, batch, 5, 4, 2)
    other = rebatched(graph, rows)
    x = np.random.default_rng(0).normal(size=(batch * rows, 5, 4, 2))
    expected = [evaluate(graph, {"x": part})["output"] for part in np.split(x, rows)]
    got = [evaluate(other, {"x": part})["output"] for part in np.split(x, batch)]
    np.testing.assert_allclose(np.concatenate(got), np.concatenate(expected), rtol=1e-12)
    assert other.outputs["output"].shape[0] == rows
    assert not any(op.kind in ("SHAPE", "PACK", "STRIDED_SLICE") for op in other.ops)


def test_the_original_stays_as_it_is():
    graph = graph_of(convolution_and_flatten, 2, 5, 4, 2)
    rebatched(graph, 7)
    assert graph.outputs["output"].shape == (2, 3) and graph.ops[1].inputs[1].data[0] == 2


def constant_per_row(b, x):
    return b.add(x, constant(np.ones((2, 3))))


def sum_over_the_batch(b, x):
    return b.sum(x, [0])


@pytest.mark.parametrize(
    "build,kind",
    [(constant_per_row, "ADD"), (sum_over_the_batch, "SUM"), (lambda b, x: b.transpose(x, (1, 0)), "TRANSP")],
)
def test_what_mixes_or_repeats_the_batch_is_refused_by_name(build, kind):
    with pytest.raises(ValueError, match=f"operator {kind}.* cannot run on another batch size"):
        rebatched(graph_of(build, 2, 3), 5)
