"""Frozen kernels of few different values, as the paper stores them."""

from tinytl_keras.quantize._cluster_frozen import Clustered as Clustered
from tinytl_keras.quantize._cluster_frozen import cluster_frozen as cluster_frozen
