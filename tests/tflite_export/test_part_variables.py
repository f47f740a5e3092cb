"""Which kernels are stored in parts."""

import numpy as np

from tflite_export.graph import Variable
from tflite_export.part_variables import by_group, whole_shape


def kernel(*shape) -> Variable:
    return Variable("layer/kernel", np.random.default_rng(0).normal(size=shape).astype(np.float32))


def test_a_large_kernel_is_a_variable_for_each_group():
    for large, axis in ((kernel(3, 3, 96, 192), 3), (kernel(192, 3, 3, 96), 0)):
        parts = by_group((large,), {large: (2, axis)})
        assert [part.name for part in parts] == ["layer/kernel/group_0", "layer/kernel/group_1"]
        assert {part.whole for part in parts} == {"layer/kernel"} and whole_shape(parts) == large.shape
        np.testing.assert_array_equal(np.concatenate([part.initial for part in parts], axis), large.initial)


def test_other_variables_stay():
    large, small = kernel(3, 3, 96, 192), kernel(3, 3, 8, 16)
    assert by_group((large, small), {small: (2, 3)}) == (large, small)
    assert by_group((large,), {large: (2, 3)}, apart=("layer/kernel",)) == (large,)
