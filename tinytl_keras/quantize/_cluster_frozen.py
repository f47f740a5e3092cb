"""Clusters the frozen kernels of a model."""

import dataclasses

import keras
import numpy as np

from tinytl_keras.quantize.k_means import k_means, nearest
from tinytl_keras.quantize.tfmot import tfmot_centroids

ALGORITHMS = {"lloyd": k_means, "tfmot": tfmot_centroids}
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


@dataclasses.dataclass(frozen=True, eq=False)
class Clustered:
    """What became of one kernel.

    Attributes:
        path: Keras's path of the weight.
        centroids: float32 `[n]`, ascending: the values that it has now.
        error: ||new - old|| / ||old||.
    """

    path: str
    centroids: np.ndarray
    error: float


def cluster_frozen(model: keras.Model, bits: int = 8, algorithm: str = "lloyd") -> list[Clustered]:
    """Gives every frozen kernel at most `2**bits` different values, as the paper stores frozen weights.

    Each layer has its own. Raw weights are clustered: a kernel that is standardized before use is so afterwards, and
    standardizing keeps the number of values. The model is changed in place. Convert it first, so that it is known what
    is frozen; biases, statistics and whatever trains stay.

    The values are any numbers, so `tflite_export.export(frozen="int8")` would round them once more: it needs no
    clustering. No runtime here reads codebooks of 256 values (docs/int8.md).

    Args:
        model: A built Keras model.
        bits: From 1 to 16.
        algorithm: `"lloyd"`: k-means in one dimension (`k_means`); or `"tfmot"`: the centroids that
            tensorflow-model-optimization begins with, which takes longer and comes out worse.

    Returns:
        What became of every kernel, in the model's order.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: An argument is out of range, or no kernel is frozen.
        ImportError: `"tfmot"` without its packages.

    Example:

    ```python
    model = tinytl_keras.convert(keras.applications.MobileNetV2(), "bias", num_classes=5)
    worst = max(kernel.error for kernel in tinytl_keras.quantize.cluster_frozen(model))
    ```
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {type(model).__name__}")
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 16:
        raise ValueError(f"`bits` must be a whole number from 1 to 16. Received: bits={bits!r}")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"`algorithm` must be one of {', '.join(ALGORITHMS)}. Received: algorithm={algorithm!r}")
    kernels = [weight for weight in model.non_trainable_weights if weight.name in _KERNELS]
    if not kernels:
        raise ValueError(
            f"No kernel of model {model.name!r} is frozen. Convert it first: "
            "tinytl_keras.convert(model, 'bias') freezes all kernels but the head's."
        )
    return [_clustered(kernel, 2**bits, ALGORITHMS[algorithm]) for kernel in kernels]


def _clustered(kernel: keras.Variable, clusters: int, centroids_of) -> Clustered:
    old = np.array(kernel.numpy())
    new = nearest(old, centroids_of(old, clusters))
    kernel.assign(new)
    error = np.linalg.norm(new - old) / max(np.linalg.norm(old), 1e-30)
    return Clustered(kernel.path, np.unique(new), float(error))
