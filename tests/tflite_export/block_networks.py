"""Small canonical forward graphs, block by block as in well-known networks, whose biases (and some kernels) train."""

from __future__ import annotations

import numpy as np

from tflite_export.builder import Builder, constant, integers
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.losses import SparseCategoricalCrossentropy
from tflite_export.optimizers import SGD
from tflite_export.training import OptimizerState, training_step

CLASSES = 4


class Network:
    """Grows a network with random frozen kernels; every bias, scale and `trained` kernel is a variable."""

    def __init__(self, height: int, width: int, channels: int, batch: int = 2, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.b = Builder("layer")
        self.x = Tensor("x", (batch, height, width, channels))
        self.inputs = {"x": self.x}

    def normal(self, *shape, scale: float) -> np.ndarray:
        return (self.random.normal(size=shape) * scale).astype(np.float32)

    def variable(self, value: np.ndarray) -> Tensor:
        self.b.origin = f"layer{len(self.b.ops)}"  # a name of its own for every tensor
        return self.b.read(Variable(f"{self.b.origin}/variable", value))

    def bias(self, x: Tensor) -> Tensor:
        return self.b.add(x, self.variable(self.normal(x.shape[-1], scale=0.3)))

    def kernel(self, *shape, trained: bool = False) -> Tensor:
        value = self.normal(*shape, scale=1.4 / np.sqrt(np.prod(shape[1:3] if shape[0] == 1 else shape[1:])))
        return self.variable(value) if trained else constant(value)

    def dense(self, x: Tensor, channels: int, k: int = 1, stride: int = 1, groups: int = 1, trained=False) -> Tensor:
        padding = explicit_padding("SAME", x.shape[1:3], (k, k), (stride, stride))
        kernel = self.kernel(channels, k, k, x.shape[3] // groups, trained=trained)
        return self.bias(self.b.conv_2d(x, kernel, (stride, stride), padding))

    def depthwise(self, x: Tensor, k: int, stride: int = 1, trained: bool = False) -> Tensor:
        padding = explicit_padding("SAME", x.shape[1:3], (k, k), (stride, stride))
        kernel = self.kernel(1, k, k, x.shape[3], trained=trained)
        return self.bias(self.b.depthwise_conv_2d(x, kernel, (stride, stride), padding))

    def act(self, x: Tensor, kind: str = "RELU6") -> Tensor:
        return self.b.unary(kind, x)

    def swish(self, x: Tensor) -> Tensor:
        return self.b.mul(x, self.b.unary("LOGISTIC", x))

    def pool(self, x: Tensor, kind: str, k: int, stride: int) -> Tensor:
        size = [-(-n // stride) for n in x.shape[1:3]]
        window = {"filter_height": k, "filter_width": k, "stride_h": stride, "stride_w": stride}
        return self.b.op(kind, (x,), (x.shape[0], *size, x.shape[3]), padding="SAME", **window)

    def cropped(self, x: Tensor) -> Tensor:
        """Without its first row, and its columns backwards."""
        n, height, width, channels = x.shape
        x = self.b.slice(x, (0, 1, 0, 0), (n, height - 1, width, channels))
        return self.b.gather(x, range(width)[::-1], 2)

    def resize(self, x: Tensor, height: int, width: int) -> Tensor:
        shape = (x.shape[0], height, width, x.shape[3])
        inputs = (x, integers((height, width)))
        return self.b.op("RESIZE_BILINEAR", inputs, shape, align_corners=False, half_pixel_centers=True)

    def group_norm(self, x: Tensor, groups: int) -> Tensor:
        """As Keras writes it: x * inverse + (0 - mean * inverse), then a frozen scale and a trained bias."""
        b, (n, h, w, c) = self.b, x.shape
        grouped = b.reshape(x, (n, h * w, groups, c // groups))
        mean = b.reduce("MEAN", grouped, (1, 3), keep_dims=True)
        centred = b.sub(grouped, mean)
        variance = b.reduce("MEAN", b.mul(centred, centred), (1, 3), keep_dims=True)
        inverse = b.unary("RSQRT", b.add(variance, constant(1e-3)))
        y = b.add(b.mul(grouped, inverse), b.unary("NEG", b.mul(mean, inverse)))
        return self.bias(b.mul(b.reshape(y, x.shape), constant(self.random.uniform(0.5, 1.5, c))))

    def standardized(self, kernel: Tensor) -> Tensor:
        """A kernel [out, …] with the mean of every output's taken off."""
        b = self.b
        centred = b.sub(kernel, b.reduce("MEAN", kernel, (1, 2, 3), keep_dims=True))
        variance = b.reduce("MEAN", b.mul(centred, centred), (1, 2, 3), keep_dims=True)
        return b.mul(centred, b.unary("RSQRT", b.add(variance, constant(1e-3))))

    def inverted_residual(self, x: Tensor, expansion: int, out: int, k: int = 3, stride: int = 1, **norm) -> Tensor:
        def activated(y):
            return self.act(self.group_norm(y, **norm) if norm else y)

        y = activated(self.dense(x, expansion))
        y = activated(self.depthwise(y, k, stride))
        y = self.dense(y, out)
        return self.b.add(x, y) if y.shape == x.shape else y

    def squeeze_excite(self, x: Tensor, convolutions: bool) -> Tensor:
        b, channels = self.b, x.shape[3]
        pooled = b.reduce("MEAN", x, (1, 2), keep_dims=convolutions)
        if convolutions:
            gate = self.dense(self.act(self.dense(pooled, 8), "RELU"), channels)
        else:
            gate = self.bias(b.matmul(pooled, self.kernel(channels, 8)))
            gate = self.bias(b.matmul(self.act(gate, "RELU"), self.kernel(8, channels)))
            gate = b.reshape(gate, (x.shape[0], 1, 1, channels))
        return b.mul(x, b.unary("LOGISTIC", gate))

    def lite_residual(self, x: Tensor, out: int, stride: int = 1) -> Tensor:
        """Pooled, a group convolution and a 1x1 one with trained and standardized kernels, and resized."""
        b = self.b
        y = self.pool(x, "AVERAGE_POOL_2D", 2, 2)
        grouped = self.standardized(self.kernel(x.shape[3], 3, 3, x.shape[3] // 2, trained=True))
        y = b.conv_2d(y, grouped, (1, 1), ((1, 1), (1, 1)))
        y = self.act(self.group_norm(y, 2), "RELU")
        rows = b.reshape(y, (y.size // y.shape[3], y.shape[3]))
        y = b.reshape(b.matmul(rows, self.kernel(y.shape[3], out, trained=True)), (*y.shape[:3], out))
        return self.resize(y, *(-(-n // stride) for n in x.shape[1:3]))

    def head(self, x: Tensor) -> Graph:
        logits = self.bias(self.b.matmul(self.b.reduce("MEAN", x, (1, 2)), self.kernel(x.shape[3], CLASSES)))
        return Graph("forward", self.inputs, {"output": logits}, tuple(self.b.ops))


def inverted_residuals(height=13, width=11, wide=24, k=3, batch=2, seed=0) -> Graph:
    """A stem and three blocks: with a shortcut, strided, with a shortcut again."""
    n = Network(height, width, 3, batch, seed)
    x = n.act(n.dense(n.x, 6, 3, 2))
    x = n.inverted_residual(x, wide, 6, k)
    x = n.inverted_residual(x, wide, 8, k, stride=2)
    return n.head(n.inverted_residual(x, 32, 8, k))


def normalized() -> Graph:
    n = Network(9, 7, 4)
    x = n.inverted_residual(n.x, 24, 4, groups=6)
    return n.head(n.inverted_residual(x, 24, 8, stride=2, groups=2))


def lite() -> Graph:
    """Lite residual branches beside inverted residual blocks."""
    n = Network(12, 9, 4)
    x = n.act(n.dense(n.x, 6, 3))
    for out, stride in ((6, 1), (8, 2)):
        x = n.b.add(n.inverted_residual(x, 24, out, stride=stride), n.lite_residual(x, out, stride))
    return n.head(x)


def squeeze_and_excite(convolutions: bool) -> Graph:
    n = Network(8, 7, 4)
    y = n.swish(n.dense(n.x, 24))
    y = n.squeeze_excite(n.swish(n.depthwise(y, 5)), convolutions)
    return n.head(n.inverted_residual(n.dense(y, 4), 24, 4))


def bottleneck() -> Graph:
    """ResNet blocks: 1x1, 3x3, 1x1, the second strided with a convolution in its shortcut."""
    n = Network(9, 9, 3)
    x = n.act(n.dense(n.x, 8, 3), "RELU")
    y = n.dense(n.act(n.dense(n.act(n.dense(x, 16), "RELU"), 16, 3), "RELU"), 8)
    x = n.act(n.b.add(x, y), "RELU")
    y = n.dense(n.act(n.dense(n.act(n.dense(x, 16), "RELU"), 16, 3, stride=2), "RELU"), 24)
    return n.head(n.act(n.b.add(n.dense(x, 24, stride=2), y), "RELU"))


def windows() -> Graph:
    """Both poolings, PAD, RESIZE_BILINEAR, SLICE, GATHER and a scale per channel between two dense convolutions."""
    n = Network(9, 11, 3)
    y = n.act(n.dense(n.x, 24), "RELU")
    y = n.pool(y, "MAX_POOL_2D", 3, 1)
    y = n.b.pad(n.pool(y, "AVERAGE_POOL_2D", 2, 2), [(0, 0), (0, 1), (1, 0), (0, 0)])
    y = n.cropped(n.resize(n.b.mul(y, n.variable(n.normal(24, scale=1))), 7, 9))
    return n.head(n.dense(n.act(y, "TANH"), 6))


def plain() -> Graph:
    """Convolutions with trained kernels, pooling, a grouped convolution and a trained depthwise kernel."""
    n = Network(12, 13, 2)
    x = n.act(n.dense(n.x, 8, 3, trained=True), "RELU")
    x = n.pool(x, "MAX_POOL_2D", 2, 2)
    x = n.act(n.dense(x, 16, 3, groups=2), "RELU")
    x = n.act(n.depthwise(n.dense(x, 24), 3, trained=True))
    return n.head(n.act(n.dense(x, 8, 5, 2), "RELU"))


def early_readers() -> Graph:
    """One map read by two dense convolutions and, pooled, by the head; what reads them stands before the map's end."""
    n = Network(8, 8, 3)
    y = n.act(n.dense(n.x, 24))
    first = n.act(n.dense(y, 4), "RELU")
    pooled = n.b.reduce("MEAN", y, (1, 2), keep_dims=True)
    mixed = n.act(n.dense(pooled, 8), "TANH")
    y = n.act(n.depthwise(y, 3))
    pooled_later = n.b.reduce("MEAN", y, (1, 2))
    gate = n.bias(n.b.matmul(pooled_later, n.kernel(24, 8)))
    x = n.b.concatenate([first, n.dense(y, 4)], 3)
    return n.head(n.b.mul(n.b.add(x, mixed), n.b.reshape(gate, mixed.shape)))


def odd_channels() -> Graph:
    """Widths that are no multiple of eight, in one block not even of two."""
    n = Network(7, 5, 3, batch=1)
    x = n.inverted_residual(n.x, 20, 3, k=5)
    return n.head(n.inverted_residual(x, 15, 4, stride=2))


NETWORKS = {
    "inverted residuals": inverted_residuals,
    "5x5 windows": lambda: inverted_residuals(9, 14, k=5),
    "7x7 windows": lambda: inverted_residuals(15, 8, k=7, batch=1),
    "normalized": normalized,
    "lite residual branches": lite,
    "squeeze and excite, convolutions": lambda: squeeze_and_excite(True),
    "squeeze and excite, matrices": lambda: squeeze_and_excite(False),
    "bottleneck": bottleneck,
    "windows": windows,
    "plain": plain,
    "early readers": early_readers,
    "odd channels": odd_channels,
}


def step_of(forward: Graph) -> Graph:
    """The canonical ``train`` of `forward` by plain gradient descent."""
    state = OptimizerState.of(SGD(), forward.variables)
    return training_step(forward, SparseCategoricalCrossentropy(), SGD(), state)


def batch_of(forward: Graph, seed: int = 0, learning_rate: float = 0.5) -> dict[str, np.ndarray]:
    """Inputs of ``train``."""
    random, shape = np.random.default_rng(seed), forward.inputs["x"].shape
    return {
        "x": random.normal(size=shape).astype(np.float32),
        "y": random.integers(0, CLASSES, shape[0]).astype(np.int32),
        "learning_rate": np.full(1, learning_rate, np.float32),
    }
