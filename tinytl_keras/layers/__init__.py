"""Keras layers whose frozen weights stay frozen through saving, cloning and recompiling."""

from tinytl_keras.layers.batch_normalization import BatchNormalization as BatchNormalization
from tinytl_keras.layers.frozen_layer import FrozenLayer as FrozenLayer
from tinytl_keras.layers.frozen_weights import FrozenWeights as FrozenWeights
from tinytl_keras.layers.group_convolution import GroupConv2D as GroupConv2D
from tinytl_keras.layers.group_normalization import GroupNormalization as GroupNormalization
from tinytl_keras.layers.lite_residual import LiteResidual as LiteResidual
from tinytl_keras.layers.standard import Conv1D as Conv1D
from tinytl_keras.layers.standard import Conv1DTranspose as Conv1DTranspose
from tinytl_keras.layers.standard import Conv2D as Conv2D
from tinytl_keras.layers.standard import Conv2DTranspose as Conv2DTranspose
from tinytl_keras.layers.standard import Conv3D as Conv3D
from tinytl_keras.layers.standard import Conv3DTranspose as Conv3DTranspose
from tinytl_keras.layers.standard import Dense as Dense
from tinytl_keras.layers.standard import DepthwiseConv1D as DepthwiseConv1D
from tinytl_keras.layers.standard import DepthwiseConv2D as DepthwiseConv2D
from tinytl_keras.layers.standard import EinsumDense as EinsumDense
from tinytl_keras.layers.standard import Embedding as Embedding
from tinytl_keras.layers.standard import LayerNormalization as LayerNormalization
from tinytl_keras.layers.standard import PReLU as PReLU
from tinytl_keras.layers.standard import SeparableConv1D as SeparableConv1D
from tinytl_keras.layers.standard import SeparableConv2D as SeparableConv2D
from tinytl_keras.layers.weight_standardization import WeightStandardizedConv2D as WeightStandardizedConv2D
from tinytl_keras.layers.weight_standardization import (
    WeightStandardizedDepthwiseConv2D as WeightStandardizedDepthwiseConv2D,
)
