import numpy as np

from tflite_export.runtime.batches import epoch_order, pad_rows, slices


def test_an_epoch_visits_every_sample_once_in_an_order_of_its_own():
    orders = [epoch_order(7, True, 3, epoch) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(7))
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[2], epoch_order(7, True, 3, 2))
    assert not np.array_equal(orders[0], epoch_order(7, True, 4, 0))


def test_without_shuffle_the_order_is_the_given_one():
    np.testing.assert_array_equal(epoch_order(4, False, 3, 1), [0, 1, 2, 3])


def test_slices_cover_all_rows_and_the_last_may_be_short():
    assert list(slices(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(slices(6, 3)) == [slice(0, 3), slice(3, 6)]
    assert list(slices(0, 3)) == []


def test_padding_adds_rows_behind_and_keeps_the_dtype():
    padded = pad_rows(np.array([[1, 2]], np.uint8), 3)
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded, [[1, 2], [0, 0], [0, 0]])
    np.testing.assert_array_equal(pad_rows(np.array([5], np.int32), 2, -1), [5, -1])
