"""Operators that move values, as TensorFlow's converter writes them: values and gradients in every runtime."""

import dataclasses

import numpy as np
import pytest

from tests.tflite_export.oracle import check_lowered, input_tensor
from tflite_export.builder import Builder, constant, integers
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.canonical import canonicalise

RANDOM = np.random.default_rng(11)
KNOWN = {"RESHAPE", "TRANSPOSE", "PAD", "SLICE", "CONCATENATION", "BROADCAST", "GATHER", "ADD", "MUL"}


def lowered(inputs, build) -> Graph:
    """Tensors of these shapes, what `build` makes of them, and a product so that no gradient is a constant."""
    b = Builder("layer")
    tensors = {f"x{i}": input_tensor(f"x{i}", *shape) for i, shape in enumerate(inputs)}
    y = build(b, *tensors.values())
    return Graph("main", tensors, {"y": b.mul(y, y)}, tuple(b.ops))


def check(inputs, build, **options):
    graph = lowered(inputs, build)
    assert {op.kind for op in canonicalise(graph).ops} <= KNOWN
    check_lowered(graph, **options)


# (shape, begin, end, strides, masks, output shape)
SLICES = {
    "cropping": ((2, 5, 6, 3), (0, 1, 0, 0), (0, -2, -1, 0), (1, 1, 1, 1), {"begin_mask": 9, "end_mask": 9}),
    "every second": ((2, 7, 8, 3), (0, 0, 1, 0), (0, 0, 0, 0), (1, 2, 3, 1), {"begin_mask": 11, "end_mask": 15}),
    "of a short end": ((1, 3, 5, 1), (0, 0, 1, 0), (1, 3, 5, 1), (1, 2, 3, 1), {}),
    "one of many": ((2, 9, 2), (0, 4, 0), (2, 5, 2), (1, 7, 1), {}),
    "channels reversed": ((2, 4, 4, 3), (0,) * 4, (0,) * 4, (1, 1, 1, -1), {"begin_mask": 15, "end_mask": 15}),
    "backwards": ((2, 7, 8, 3), (0, 5, 7, 0), (2, 0, -9, 3), (1, -2, -3, 1), {}),
    "clamped": ((2, 5, 1), (0, -100, 0), (2, 100, 7), (1, 3, 1), {}),
    "shrunk": ((3, 7, 8), (0, -2, 0), (0, 0, 0), (1, 1, 2), {"begin_mask": 5, "end_mask": 5, "shrink_axis_mask": 2}),
    "new axis": ((3, 4), (0, 0, 1), (0, 0, 3), (1, 1, 1), {"begin_mask": 1, "end_mask": 1, "new_axis_mask": 2}),
    "ellipsis": ((2, 3, 4, 5), (1, 0, 1), (2, 0, 5), (1, 1, 2), {"ellipsis_mask": 2, "shrink_axis_mask": 1}),
    "only the front": ((4, 3, 2), (1,), (4,), (2,), {}),
    "five axes": ((2, 3, 4, 3, 2), (0, 0, 3, 0, 0), (2, 3, 0, 3, 2), (1, 2, -2, 1, 1), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", SLICES)
def test_strided_slice(case):
    shape, begin, end, strides, masks = SLICES[case]
    index = []
    for i, bounds in enumerate(zip(begin, end, strides)):
        first, last = (None if masks.get(m, 0) >> i & 1 else v for m, v in zip(("begin_mask", "end_mask"), bounds))
        special = {"ellipsis_mask": Ellipsis, "new_axis_mask": None, "shrink_axis_mask": bounds[0]}
        chosen = [value for mask, value in special.items() if masks.get(mask, 0) >> i & 1]
        index.append(chosen[0] if chosen else slice(first, last, bounds[2]))
    out = np.zeros(shape)[tuple(index)].shape

    def build(b, x):
        return b.op("STRIDED_SLICE", (x, *map(integers, (begin, end, strides))), out, **masks)

    check([shape], build)


def test_a_slice_whose_end_counts_from_its_beginning():
    build = lambda b, x: b.op("STRIDED_SLICE", (x, *map(integers, ((0, 1), (2, 3), (1, 2)))), (2, 2), offset=True)  # noqa: E731
    (op,) = [op for op in canonicalise(lowered([(2, 6)], build)).ops if op.kind == "SLICE"][:1]
    assert list(op.inputs[1].data) == [0, 1]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(2, 3), (1, 4, 1), (3, 2, 5)])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_pack(shape, axis, count):
    place = axis % (len(shape) + 1)
    out = (*shape[:place], count, *shape[place:])
    build = lambda b, *x: b.op("PACK", x, out, axis=axis, values_count=count)  # noqa: E731
    check([shape] * count, build)


def several(b, kind, inputs, shapes, **attributes):
    outputs = tuple(Tensor(f"{kind.lower()}_{i}", shape) for i, shape in enumerate(shapes))
    b.copy(Op(kind, inputs, outputs, attributes, b.origin))
    return outputs


def used_unevenly(b, parts):
    """A number of its own for every part, and no reader at all for the second."""
    total = parts[0]
    for i, part in enumerate(parts[2:]):
        total = b.add(total, b.scale(part, i + 2.5))
    return total


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 5, 3), (4, 3, 1, 6)])
def test_unpack(shape, axis):
    shapes = [tuple(np.delete(shape, axis))] * shape[axis]
    build = lambda b, x: used_unevenly(b, several(b, "UNPACK", (x,), shapes, axis=axis, num=len(shapes)))  # noqa: E731
    check([shape], build)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 6, 3), (6, 3, 1, 9)])
def test_split(shape, axis):
    part = list(shape)
    part[axis] //= 3

    def build(b, x):
        parts = several(b, "SPLIT", (integers([axis]), x), [tuple(part)] * 3, num_splits=3)
        return used_unevenly(b, parts)

    check([shape], build)


@pytest.mark.parametrize("sizes", [(6,), (1, 5), (2, 1, 3)])
def test_split_v(sizes):
    def build(b, x):
        shapes = [(2, size, 3) for size in sizes]
        parts = several(b, "SPLIT_V", (x, integers(sizes), integers([1])), shapes, num_splits=len(sizes))
        return b.concatenate(parts[::-1], 1) if len(parts) > 1 else parts[0]

    check([(2, 6, 3)], build)


TILES = [((2, 5, 1, 3), (1, 1, 3, 1)), ((3, 2), (1, 4)), ((2, 3, 1), (2, 1, 3)), ((2, 5, 1, 4, 3), (1, 1, 2, 1, 1))]


@pytest.mark.parametrize(("shape", "multiples"), [*TILES, ((4,), (3,))])
def test_tile(shape, multiples):
    out = tuple(np.multiply(shape, multiples))
    check([shape], lambda b, x: b.op("TILE", (x, integers(multiples)), out))


@pytest.mark.parametrize(
    ("shape", "out"), [((2, 1, 3), (2, 4, 3)), ((3,), (2, 2, 3)), ((1, 1), (3, 2)), ((2, 3), (2, 3))]
)
def test_broadcast_to(shape, out):
    check([shape], lambda b, x: b.op("BROADCAST_TO", (x, integers(out)), out))


@pytest.mark.parametrize("indices", [[2, 0, 0, 5], [6, 5, 4, 3, 2, 1, 0], [3], [1, 2, 3], [[0, 6], [6, 1]]])
@pytest.mark.parametrize("axis", [1, -1])
def test_gather(indices, axis):
    shape = (2, 7, 3, 7)
    place = axis % 4
    out = (*shape[:place], *np.shape(indices), *shape[place + 1 :])
    check([shape], lambda b, x: b.op("GATHER", (x, integers(indices)), out, axis=axis, batch_dims=0))


def test_gather_of_more_places_than_there_are_slices_for():
    indices = RANDOM.permutation(np.repeat(np.arange(30), 2))
    check([(2, 30, 2)], lambda b, x: b.op("GATHER", (x, integers(indices)), (2, 60, 2), axis=1, batch_dims=0))


@pytest.mark.parametrize("axes", [[1], [-1], [1, 2]])
@pytest.mark.parametrize("shape", [(2, 6, 3), (1, 1, 5), (2, 40, 2)])
def test_reverse(shape, axes):
    check([shape], lambda b, x: b.op("REVERSE_V2", (x, integers(axes)), shape))


@pytest.mark.parametrize("mode", ["REFLECT", "SYMMETRIC"])
@pytest.mark.parametrize("amounts", [((1, 2), (2, 1)), ((0, 0), (3, 0)), ((4, 4), (0, 1))])
def test_mirror_pad(mode, amounts):
    paddings = [(0, 0), *amounts, (0, 0)]
    out = (2, 5 + sum(amounts[0]), 6 + sum(amounts[1]), 3)
    check([(2, 5, 6, 3)], lambda b, x: b.op("MIRROR_PAD", (x, integers(paddings)), out, mode=mode))


@pytest.mark.parametrize("value", [0, 1.5, -2])
def test_padding_with_a_value(value):
    paddings = [(0, 0), (1, 2), (0, 3), (0, 0)]
    check([(2, 4, 1, 3)], lambda b, x: b.op("PADV2", (x, integers(paddings), constant(value)), (2, 7, 4, 3)))


def test_concatenation_with_constants():
    before, after = (constant(RANDOM.normal(size=(2, n, 3)).astype(np.float32)) for n in (1, 2))
    check([(2, 4, 3)], lambda b, x: b.concatenate([before, x, after, x], 1))


@pytest.mark.parametrize("flags", [{}, {"half_pixel_centers": True}, {"align_corners": True}])
@pytest.mark.parametrize(
    "size", [(2, 5, 4, 10, 12), (1, 4, 5, 7, 8), (3, 1, 1, 4, 5), (2, 7, 5, 3, 5), (1, 6, 6, 3, 2)]
)
def test_nearest_neighbor_resizing(size, flags):
    batch, height, width, rows, columns = size

    def build(b, x):
        inputs = (x, integers((rows, columns)))
        return b.op("RESIZE_NEAREST_NEIGHBOR", inputs, (batch, rows, columns, 3), **flags)

    check([(batch, height, width, 3)], build)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_shift_along_time(axis):
    """A part of the channels one frame later, a part one frame earlier, the rest where it is."""

    def build(b, x):
        later = b.pad(b.slice(x, (0, 0, 0, 0), (2, 3, 5, 2)), [(0, 0), (1, 0), (0, 0), (0, 0)])
        earlier = b.pad(b.slice(x, (0, 1, 0, 2), (2, 3, 5, 1)), [(0, 0), (0, 1), (0, 0), (0, 0)])
        return b.concatenate([later, earlier, b.slice(x, (0, 0, 0, 3), (2, 4, 5, 3))], 3)

    check([(2, 4, 5, 6)], build)


def dealt_out(kind, padding, block):
    """The three operators that older converters make of a convolution with dilation `block`."""

    def build(b, x, bias):
        n, h, w, c = x.shape
        full = [size + sum(pad) for size, pad in zip((h, w), padding)]
        extra = [-size % step for size, step in zip(full, block)]
        paddings = [(pad[0], pad[1] + more) for pad, more in zip(padding, extra)]
        split = [(size + more) // step for size, more, step in zip(full, extra, block)]
        n_blocks = n * block[0] * block[1]
        dealt = b.op("SPACE_TO_BATCH_ND", (x, integers(block), integers(paddings)), (n_blocks, *split, c))
        weights = RANDOM.normal(size=(1, 3, 2, c) if kind == "depthwise" else (4, 3, 2, c)).astype(np.float32)
        y = (b.depthwise_conv_2d if kind == "depthwise" else b.conv_2d)(dealt, constant(weights))
        b.ops[-1] = dataclasses.replace(b.ops[-1], attributes={**b.ops[-1].attributes, "padding": "VALID"})
        out = [size - (k - 1) * step for size, k, step in zip(full, (3, 2), block)]
        crops = [(0, y.shape[1 + i] * block[i] - out[i]) for i in range(2)]
        y = b.op("BATCH_TO_SPACE_ND", (y, integers(block), integers(crops)), (n, *out, y.shape[3]))
        return b.add(y, bias)

    return build


@pytest.mark.parametrize("kind", ["dense", "depthwise"])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((2, 2), (1, 2))])
@pytest.mark.parametrize("block", [(2, 2), (2, 3)])
def test_a_dilated_convolution_that_was_dealt_out_into_batches(kind, padding, block):
    graph = lowered([(2, 9, 8, 3), (3 if kind == "depthwise" else 4,)], dealt_out(kind, padding, block))
    kinds = [op.kind for op in canonicalise(graph).ops]
    assert len(kinds) == 3 and kinds[0] in ("CONV_2D", "DEPTHWISE_CONV_2D")
    check_lowered(graph)
