"""TinyTL for Keras: transfer learning that fits in the memory of the device that runs the model."""

from tinytl_keras import backbones as backbones
from tinytl_keras import data as data
from tinytl_keras import layers as layers
from tinytl_keras import quantize as quantize
from tinytl_keras._block_classes import register_block as register_block
from tinytl_keras._convert import convert as convert
from tinytl_keras._summary import summary as summary
from tinytl_keras.lite_residual import LiteResidualConfig as LiteResidualConfig
from tinytl_keras.memory import MemoryReport as MemoryReport
from tinytl_keras.memory import memory_report as memory_report
from tinytl_keras.methods import METHODS as METHODS
