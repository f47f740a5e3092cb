"""ProxylessNAS-Mobile has the paper's counts, kernels and padding. They are those of ../shared/REFERENCE.md."""

import keras
import numpy as np
import pytest

import tinytl_keras
from tinytl_keras.backbones import PROXYLESS_MOBILE, ProxylessNASMobile
from tinytl_keras.layers import LiteResidual, WeightStandardizedConv2D

BACKBONE, BRANCHES, FEATURES = 2_799_512, 1_816_416, 1280
TABLE = {
    # method: trainable parameters without the classifier
    "last": 0,
    "bias": 20_976,
    "lite_residual": BRANCHES,
    "lite_residual+bias": BRANCHES + 15_232,
    "norm+last": 41_952,
    "full": BACKBONE + BRANCHES,
}
KERNELS = [5] * 15 + [3] * 4


@pytest.fixture(scope="module")
def group_net():
    return ProxylessNASMobile((96, 96, 3), norm="group")


def branches_of(model):
    return [layer for layer in model.layers if isinstance(layer, LiteResidual)]


def trainable_count(model):
    return sum(np.prod(weight.shape) for weight in model.trainable_weights)


def test_parameters(group_net):
    assert group_net.count_params() == 4_080_512
    assert trainable_count(ProxylessNASMobile((96, 96, 3))) == 4_080_512
    assert ProxylessNASMobile((96, 96, 3), classes=None, norm="group").count_params() == BACKBONE


def test_the_paper_s_table_for_102_classes(group_net):
    summary = tinytl_keras.summary(tinytl_keras.convert(group_net, num_classes=102))
    assert (summary.trainable_parameters, summary.frozen_parameters) == (1_962_310, 2_784_280)
    assert summary.trainable_parameters + summary.frozen_parameters == 4_746_590


@pytest.mark.parametrize("method", tinytl_keras.METHODS)
def test_six_methods(group_net, method):
    for classes in (102, 10, 196):
        converted = tinytl_keras.convert(group_net, method, num_classes=classes, branches=True)
        summary = tinytl_keras.summary(converted)
        head = FEATURES * classes + classes
        assert summary.trainable_parameters == TABLE[method] + head
        assert summary.trainable_parameters + summary.frozen_parameters == BACKBONE + BRANCHES + head


def test_batch_norm_trains_the_same():
    converted = tinytl_keras.convert(ProxylessNASMobile((64, 64, 3)), num_classes=10)
    assert tinytl_keras.summary(converted).trainable_parameters == TABLE["lite_residual+bias"] + FEATURES * 10 + 10


def test_norms_and_kernels_do_not_depend_on_the_image_size(group_net):
    for net in (group_net, ProxylessNASMobile((47, 224, 3))):
        converted = tinytl_keras.convert(net)
        branches = branches_of(converted)
        assert [branch.name for branch in branches] == [f"proxyless_{index}_lite_residual" for index in range(1, 20)]
        if net.input_shape[1] > 64:  # else there is a map that pooling would empty
            assert [branch.group_conv.kernel_size[0] for branch in branches] == KERNELS
        strides = [branch.group_conv.strides[0] for branch in branches if not branch.is_global]
        assert strides == [block[3] for block in PROXYLESS_MOBILE[1:]][: len(strides)]
        standardized = isinstance(net.get_layer("proxyless_1_expand"), WeightStandardizedConv2D)
        assert {branch.weight_standardization for branch in branches} == {standardized}


def test_99_group_norms_of_8_channels(group_net):
    converted = tinytl_keras.convert(group_net)
    norms = [layer for layer in converted._flatten_layers() if isinstance(layer, keras.layers.GroupNormalization)]
    assert len(norms) == 99
    assert {layer.gamma.shape[0] // layer.groups for layer in norms} == {8}
    assert {layer.epsilon for layer in norms} == {1e-3}


def test_output_at_conversion_is_the_original_s_to_the_bit():
    net = ProxylessNASMobile((47, 35, 3), classes=7, norm="group")
    generator = np.random.default_rng(0)
    for weight in net.weights:
        if len(weight.shape) == 1:
            weight.assign(weight + generator.uniform(0, 0.5, weight.shape))
    images = generator.uniform(-1, 1, (3, 47, 35, 3)).astype("float32")
    converted = tinytl_keras.convert(net)
    np.testing.assert_array_equal(converted(images), net(images))
    np.testing.assert_array_equal(converted.predict(images, verbose=0), net.predict(images, verbose=0))


def test_padding_is_symmetric():
    """A 4x4 image: the second row of Keras's 'same' at stride 2 would see no padding above."""
    net = ProxylessNASMobile((4, 4, 3), classes=None)
    first = net.get_layer("proxyless_first_conv")
    first.kernel.assign(np.ones(first.kernel.shape))
    outputs = keras.Model(net.inputs[0], first.output)(np.ones((1, 4, 4, 3), "float32"))
    np.testing.assert_array_equal(np.asarray(outputs)[0, ..., 0] / 3, [[4, 6], [6, 9]])
    assert net.get_layer("proxyless_7_depthwise_pad").padding == ((3, 3), (3, 3))


def test_shapes_are_those_of_the_table():
    net = ProxylessNASMobile()
    sizes = {0: 112, 1: 56, 2: 56, 3: 28, 6: 28, 7: 14, 14: 14, 15: 7, 19: 7}
    for index, size in sizes.items():
        shape = net.get_layer(f"proxyless_{index}_project_norm").output.shape
        assert shape == (None, size, size, PROXYLESS_MOBILE[index][2])
    middles = {1: 48, 3: 96, 11: 480, 15: 576, 16: 1152, 18: 576, 19: 1152}
    for index, channels in middles.items():
        assert net.get_layer(f"proxyless_{index}_expand").filters == channels
    skips = [layer.name for layer in net.layers if isinstance(layer, keras.layers.Add)]
    assert skips == [f"proxyless_{i}_add" for i in (2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18)]


def test_another_list_of_blocks_and_width():
    net = ProxylessNASMobile((32, 32, 3), classes=5, width=0.3, blocks=[(3, 1, 16, 1), (5, 4, 40, 2)])
    assert net.get_layer("proxyless_first_conv").filters == 16
    assert net.get_layer("proxyless_1_expand").filters == 4 * 8
    assert net.get_layer("proxyless_1_project").filters == 16
    assert net.get_layer("proxyless_last_conv").filters == 1280
    assert net.output_shape == (None, 5)
    assert [branch.name for branch in branches_of(tinytl_keras.convert(net))] == ["proxyless_1_lite_residual"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "layer"}, "`norm` must be one of"),
        ({"width": 0}, "`width` must be above 0"),
        ({"blocks": [(3, 1, 16)]}, "Each of `blocks`"),
        ({"blocks": [(4, 1, 16, 1)]}, "the kernel odd"),
        ({"blocks": [(3, 0, 16, 1)]}, "positive integers"),
    ],
)
def test_refusals(wrong, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        ProxylessNASMobile((32, 32, 3), **wrong)
