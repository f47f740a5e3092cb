"""The one file that knows tensorflow-model-optimization.

Its `cluster_weights` takes Keras 2 layers alone: of a Keras 3 model it returns None. Its centroids work on any kernel.
They are those of k-means++ and move only while the wrapped layer trains, which a frozen kernel does not.
"""

import numpy as np


def tfmot_centroids(values: np.ndarray, clusters: int) -> np.ndarray:
    """float64 `[clusters]`, ascending: what tensorflow-model-optimization would start to train from.

    Args:
        values: Numbers, of any shape.
        clusters: How many.

    Raises:
        ImportError: It, or tf-keras, is not installed.
    """
    try:
        # Imported here: it can turn tf.keras into Keras 2 for the whole process.
        from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids
    except ImportError as error:
        raise ImportError(
            "`algorithm='tfmot'` needs tensorflow-model-optimization and tf-keras: "
            "pip install 'tinytl-keras[quantize]'. The default algorithm needs neither."
        ) from error
    import tensorflow as tf

    weights = tf.constant(np.asarray(values, np.float32).reshape(-1))
    start = clustering_centroids.KmeansPlusPlusCentroidsInitialisation(weights, clusters)
    return np.sort(np.asarray(start.get_cluster_centroids(), np.float64).reshape(-1))
