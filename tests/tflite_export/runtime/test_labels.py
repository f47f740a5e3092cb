import numpy as np
import pytest

from tflite_export.runtime import labels

INFO = {"classes": 3, "class_names": None}
NAN = np.nan


def test_padding_does_not_count():
    indices = labels.pad_labels(np.array([2], np.int32), 3)
    np.testing.assert_array_equal(indices, [2, -1, -1])
    np.testing.assert_array_equal(labels.counted(indices), [True, False, False])
    numbers = labels.pad_labels(np.ones((1, 2), np.float32), 3)
    assert numbers.shape == (3, 2) and numbers.dtype == np.float32
    np.testing.assert_array_equal(labels.counted(numbers), [True, False, False])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
@pytest.mark.parametrize("check", [labels.class_probabilities, labels.yes_or_no, labels.numbers])
def test_one_hot_rows_of_any_type_become_float32(check, dtype):
    result = check(np.eye(3)[[2, 0]].astype(dtype), 2, INFO, (3,))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, [[0, 0, 1], [1, 0, 0]])


def test_numbers_are_flat_or_like_the_output():
    y = np.arange(24.0).reshape(2, 3, 4)
    for given in (y, y.reshape(2, 12)):
        np.testing.assert_array_equal(labels.numbers(given, 2, INFO, (3, 4)), y.reshape(2, 12))


def test_a_row_with_a_nan_is_ignored_as_a_whole_whatever_else_it_holds():
    given = np.array([[1, 0, 0], [NAN, 7, np.inf]])
    for check in (labels.class_probabilities, labels.yes_or_no, labels.numbers):
        np.testing.assert_array_equal(check(given, 2, INFO, (3,)), [[1, 0, 0], [NAN, NAN, NAN]])
    assert given[1, 1] == 7


@pytest.mark.parametrize(
    ("check", "y", "error", "message"),
    [
        (labels.numbers, [["a"] * 3] * 2, TypeError, "y must hold numbers. Received: dtype <U1"),
        (labels.numbers, [1, 2], ValueError, r"shape \[2, 3\], like the output. Received: \[2\]\.$"),
        (labels.numbers, [[1, 2, 3], [1, 2, 1e39]], ValueError, r"finite as float32.*inf\] in row 1"),
        (labels.class_probabilities, [1, 2], ValueError, r"one-hot rows by np.eye\(3\)\[y\]"),
        (labels.class_probabilities, [[1, 0, 0], [0.5, 0.2, 0.2]], ValueError, r"sum to 1. .* in row 1"),
        (labels.class_probabilities, [[2, -1, 0], [1, 0, 0]], ValueError, ">= 0.* in row 0"),
        (labels.yes_or_no, [[1, 1, 0], [1, 0, 2]], ValueError, r"in \[0, 1\].* in row 1"),
        (labels.yes_or_no, [[1, 1], [1, 0]], ValueError, r"shape \[2, 3\]"),
    ],
)
def test_what_a_loss_cannot_take_is_refused(check, y, error, message):
    with pytest.raises(error, match=message):
        check(y, 2, INFO, (3,))


@pytest.mark.parametrize(
    ("y", "error", "hint"),
    [
        (["cat", "dog"], TypeError, r"Names become indices by \[class_names.index\(name\) for name in y\]\."),
        (np.array(["cat", "dog"], object), TypeError, r"Names become indices"),
        ([0.0, 1.0], TypeError, r"shape \[2\]\. Whole numbers become integers by y.astype\(int\)\."),
        ([True, False], TypeError, r"y.astype\(int\)"),
        ([[0.0], [1.0]], TypeError, r"y.astype\(int\)"),
        ([0.5, 1.0], TypeError, r"shape \[2\]\.$"),
        ([NAN, 1.0], TypeError, r"shape \[2\]\.$"),
        (np.eye(2, 3), TypeError, r"One-hot rows become indices by y.argmax\(-1\)\."),
        (np.eye(2, 3, dtype=int), ValueError, r"\[2, 3\]\. One-hot rows become indices by y.argmax\(-1\)\."),
        ([[0], [1]], ValueError, r"Flatten it: y\[:, 0\]\."),
    ],
)
def test_what_is_no_class_index_comes_with_the_way_to_one(y, error, hint):
    with pytest.raises(error, match=hint):
        labels.class_indices(y, 2, INFO, (3,))


def test_names_are_looked_up_in_the_files_own():
    info = {"classes": 3, "class_names": ["cat", "dog"]}
    lookup = r'by \[model.info\["class_names"\].index\(name\) for name in y\]\.'
    with pytest.raises(TypeError, match=lookup):
        labels.class_indices(["dog", "cat"], 2, info, (3,))
    with pytest.raises(TypeError, match=lookup + r" Class indices become one-hot rows by np.eye\(3\)\[y\]\."):
        labels.class_probabilities(["dog", "cat"], 2, info, (3,))


def test_a_column_of_one_number_needs_its_axis():
    with pytest.raises(ValueError, match=r"Add the axis: y\[:, None\]"):
        labels.numbers([1.0, 2.0], 2, INFO, (1,))


def test_a_probability_of_a_class_without_a_name_is_refused():
    info = {"classes": 3, "class_names": ["cat", "dog"]}
    with pytest.raises(ValueError, match="Label 2 at index 1 is a spare output"):
        labels.class_probabilities([[1, 0, 0], [0.5, 0, 0.5]], 2, info, (3,))
    labels.yes_or_no([[1, 0, 0], [0.5, 0, 0.5]], 2, info, (3,))
