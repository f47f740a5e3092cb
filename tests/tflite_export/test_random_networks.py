"""500 random small networks: every runtime, the evaluator and TensorFlow agree on values and gradients."""

import numpy as np
import pytest

from tests.tflite_export.oracle import check_lowered, input_tensor
from tests.tflite_export.test_gradients import pool
from tflite_export.builder import Builder, constant, integers
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Graph, Op

NETWORKS, PER_TEST = 500, 25
_ACTIVATIONS = {  # but for GELU by the error function, which TFLite Micro does not have
    "RELU": {}, "RELU6": {}, "RELU_N1_TO_1": {}, "RELU_0_TO_1": {}, "LEAKY_RELU": {"alpha": 0.25}, "ELU": {},
    "SELU": {}, "LOGISTIC": {}, "TANH": {}, "SOFTPLUS": {}, "SWISH": {}, "HARD_SWISH": {}, "SWISH_ONE_BIT": {},
    "HARD_SWISH_ONE_BIT": {}, "GELU": {"approximate": True}, "ABS": {}, "SIN": {}, "COS": {},
}  # fmt: skip


class _Network:
    """Grows a network layer by layer; what trains is an input."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.b = Builder(f"network{seed}")
        height, width = self.random.integers(2, 9, 2)
        self.inputs = {}
        self.x = self.input("x", self.random.integers(1, 4), height, width, self.random.integers(1, 6))
        self.earlier = [self.x]

    def input(self, name, *shape):
        self.inputs[name] = input_tensor(name, *map(int, shape))
        return self.inputs[name]

    def kernel(self, *shape):
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return constant((self.random.normal(size=shape) * scale).astype(np.float32))

    def window(self):
        """(kernel, stride), pairs of height and width, and a padding by name."""
        kernel = tuple(int(self.random.choice([n for n in (1, 2, 3, 5) if n <= m])) for m in self.x.shape[1:3])
        return kernel, tuple(map(int, self.random.integers(1, 3, 2))), str(self.random.choice(["SAME", "VALID"]))

    def convolution(self):
        kernel, stride, padding = self.window()
        padding = explicit_padding(padding, self.x.shape[1:3], kernel, stride)
        channels = int(self.random.integers(1, 7))
        self.x = self.b.conv_2d(self.x, self.kernel(channels, *kernel, self.x.shape[3]), stride, padding)

    def depthwise(self):
        kernel, stride, padding = self.window()
        padding = explicit_padding(padding, self.x.shape[1:3], kernel, stride)
        channels = self.x.shape[3] * int(self.random.integers(1, 3))
        self.x = self.b.depthwise_conv_2d(self.x, self.kernel(1, *kernel, channels), stride, padding)

    def transposed_convolution(self):
        kernel, stride, _ = self.window()
        size = [(n - 1) * s + k for n, k, s in zip(self.x.shape[1:3], kernel, stride, strict=True)]
        if max(size) < 12:
            shape = (self.x.shape[0], *size, int(self.random.integers(1, 5)))
            inputs = (integers(shape), self.kernel(shape[3], *kernel, self.x.shape[3]), self.x)
            attributes = {"padding": "VALID", "stride_h": stride[0], "stride_w": stride[1]}
            self.x = self.b.op("TRANSPOSE_CONV", inputs, shape, **attributes)

    def pointwise(self):
        self.x = self.b.conv_2d(self.x, self.kernel(int(self.random.integers(1, 7)), 1, 1, self.x.shape[3]))

    def bias(self):
        self.x = self.b.add(self.x, self.input(f"bias{len(self.inputs)}", self.x.shape[3]))

    def scale(self):
        self.x = self.b.mul(self.x, self.input(f"scale{len(self.inputs)}", self.x.shape[3]))

    def activation(self):
        kind = str(self.random.choice(list(_ACTIVATIONS)))
        self.x = self.b.unary(kind, self.x, **_ACTIVATIONS[kind])

    def prelu(self):
        alpha = self.input(f"alpha{len(self.inputs)}", *self.x.shape[int(self.random.integers(1, 4)) :])
        self.x = self.b.binary("PRELU", self.x, alpha)

    def extremum(self):
        same = [t for t in self.earlier if t.shape == self.x.shape]
        if same:
            kind = str(self.random.choice(["MINIMUM", "MAXIMUM"]))
            self.x = self.b.binary(kind, self.x, same[self.random.integers(len(same))])

    def squeeze_and_excite(self):
        """A gate per channel, told from the means of all, sigmoid or hard sigmoid."""
        gate = self.b.reduce("MEAN", self.x, (1, 2), True)
        gate = self.b.conv_2d(gate, self.kernel(self.x.shape[3], 1, 1, self.x.shape[3]))
        if self.random.random() < 0.5:
            gate = self.b.unary("LOGISTIC", gate)
        else:
            gate = self.b.scale(self.b.unary("RELU6", self.b.add(gate, constant(3))), 1 / 6)
        self.x = self.b.mul(self.x, gate)

    def normalization(self):
        """Over the channels, as LayerNormalization."""
        centred = self.b.sub(self.x, self.b.reduce("MEAN", self.x, (3,), True))
        variance = self.b.reduce("MEAN", self.b.unary("SQUARE", centred), (3,), True)
        self.x = self.b.mul(centred, self.b.unary("RSQRT", self.b.add(variance, constant(0.5))))

    def pooling(self):
        kernel, stride, padding = self.window()
        kind = str(self.random.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
        self.x = pool(self.b, kind, self.x, kernel, stride, padding)

    def shortcut(self):
        same = [t for t in self.earlier if t.shape == self.x.shape]
        if same:
            self.x = self.b.add(self.x, same[self.random.integers(len(same))])

    def concatenation(self):
        same = [t for t in self.earlier if t.shape[:3] == self.x.shape[:3]]
        if same and self.x.shape[3] < 12:
            self.x = self.b.concatenate([same[self.random.integers(len(same))], self.x], 3)

    def padding(self):
        if max(self.x.shape[1:3]) < 10:
            self.x = self.b.pad(self.x, [(0, 0), (1, 0), (0, 2), (0, 0)])

    def along_an_axis(self):
        """The place of one of an image's axes, and the shape of x with `size` there."""
        axis = int(self.random.integers(1, 4))
        return axis, lambda size: (*self.x.shape[:axis], int(size), *self.x.shape[axis + 1 :])

    def strided_slice(self):
        axis, shape = self.along_an_axis()
        step = int(self.random.choice([-2, -1, 2, 3]))
        begin, end, strides = [0] * 4, [0] * 4, [step if i == axis else 1 for i in range(4)]
        size = -(-self.x.shape[axis] // abs(step))
        inputs = (self.x, integers(begin), integers(end), integers(strides))
        self.x = self.b.op("STRIDED_SLICE", inputs, shape(size), begin_mask=15, end_mask=15)

    def choice(self):
        axis, shape = self.along_an_axis()
        indices = self.random.integers(0, self.x.shape[axis], self.random.integers(1, 7))
        self.x = self.b.op("GATHER", (self.x, integers(indices)), shape(len(indices)), axis=axis, batch_dims=0)

    def mirror(self):
        if max(self.x.shape[1:3]) < 10:
            amounts = [(0, 0), *(self.random.integers(0, n, 2) for n in self.x.shape[1:3]), (0, 0)]
            shape = [n + sum(around) for n, around in zip(self.x.shape, amounts)]
            self.x = self.b.op("MIRROR_PAD", (self.x, integers(amounts)), shape, mode="REFLECT")

    def tile(self):
        axis, shape = self.along_an_axis()
        if self.x.shape[axis] < 6:
            multiples = [2 if i == axis else 1 for i in range(4)]
            self.x = self.b.op("TILE", (self.x, integers(multiples)), shape(2 * self.x.shape[axis]))

    def resizing(self):
        size = tuple(map(int, self.random.integers(1, 10, 2)))
        shape = (self.x.shape[0], *size, self.x.shape[3])
        self.x = self.b.op("RESIZE_NEAREST_NEIGHBOR", (self.x, integers(size)), shape, half_pixel_centers=True)

    def shuffled_parts(self):
        axis, shape = self.along_an_axis()
        if self.x.shape[axis] % 2 == 0:
            half = shape(self.x.shape[axis] // 2)
            parts = tuple(input_tensor(f"part{i}", *half) for i in range(2))
            self.b.copy(Op("SPLIT", (integers([axis]), self.x), parts, {"num_splits": 2}, self.b.origin))
            self.x = self.b.concatenate(parts[::-1], axis)

    def head(self):
        if self.random.random() < 0.5:
            self.x = self.b.reduce("MEAN", self.x, (1, 2))
        else:
            self.x = self.b.reshape(self.x, (self.x.shape[0], self.x.size // self.x.shape[0]))
        logits = self.b.matmul(self.x, self.input("kernel", self.x.shape[1], 4))
        self.x = self.b.scale(logits, self.x.shape[1] ** -0.5)  # a saturated softmax cancels all digits
        self.x = self.b.add(self.x, self.input("bias", 4))
        if self.random.random() < 0.5:
            self.x = self.b.op("SOFTMAX", (self.x,), self.x.shape, beta=1.0)

    def grow(self) -> Graph:
        layers = [self.convolution, self.depthwise, self.pointwise, self.bias, self.scale, self.activation,
                  self.pooling, self.shortcut, self.concatenation, self.padding, self.transposed_convolution,
                  self.strided_slice, self.choice, self.mirror, self.tile, self.resizing,
                  self.shuffled_parts, self.prelu, self.extremum, self.squeeze_and_excite,
                  self.normalization]  # fmt: skip
        for _ in range(self.random.integers(1, 8)):
            layers[self.random.integers(len(layers))]()
            self.earlier.append(self.x)
        self.head()
        return Graph("main", self.inputs, {"y": self.x}, tuple(self.b.ops))


@pytest.mark.parametrize("first", range(0, NETWORKS, PER_TEST))
def test_random_networks_agree_everywhere(first):
    for seed in range(first, first + PER_TEST):
        check_lowered(_Network(seed).grow(), seed=seed, tolerance=2e-4, evaluator=1e-5)
