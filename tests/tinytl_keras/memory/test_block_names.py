"""What blocks are called."""

import keras
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import mobilenet
from tinytl_keras.memory.block_names import blocks_of_layers


@pytest.mark.parametrize("method", ["bias", "lite_residual"])
def test_blocks_are_called_after_what_their_layers_share(method):
    blocks = blocks_of_layers(tinytl_keras.convert(mobilenet(), method))
    assert blocks["block_3_depthwise_relu"] == blocks["block_3_project_BN"] == "block_3"
    assert blocks["expanded_conv_project"] == "expanded_conv"
    assert blocks["Conv1"] == blocks["predictions"] == ""
    assert list(blocks.values()).index("block_3") < list(blocks.values()).index("block_10")
    if method == "lite_residual":
        assert blocks["block_3_lite_residual"] == "block_3"


def test_blocks_whose_layers_share_no_name():
    x = inputs = keras.Input((8, 8, 4))
    for number in (1, 2):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
        x = layers.Add(name=f"sum_{number}")([x, y])
    blocks = blocks_of_layers(keras.Model(inputs, x))
    assert blocks == {
        "conv_1": "conv_1…sum_1",
        "sum_1": "conv_1…sum_1",
        "conv_2": "conv_2…sum_2",
        "sum_2": "conv_2…sum_2",
    }
