"""Which output of a model a folder's class is."""

import numpy as np
import pytest

from tflite_export.cli import images
from tflite_export.cli.failure import Failure


class Model:
    """As much of OnDeviceModel as the functions look at."""

    def __init__(self, class_names, classes=4, loss="sparse_categorical_crossentropy", shape=(8, 8, 3), output=(4,)):
        self.class_names, self.output_shape = class_names, output
        names = ("classes", "outputs", "loss", "label_smoothing", "output_activation", "input_shape")
        self.info = dict.fromkeys((*names, "input_scale", "input_offset"))
        self.info |= {"classes": classes, "loss": loss, "input_shape": list(shape)}

    def add_class(self, name):
        self.class_names.append(name)


def test_known_names_keep_their_outputs_and_new_ones_follow():
    model = Model(["cup", "plant"])
    assert images.outputs_of(["keys", "plant"], model, learn=True) == [2, 1]
    assert images.name_of(2, model) == "keys" and images.name_of(3, model) == "class 3"


@pytest.mark.parametrize(
    ("names", "outputs"),
    [(["3", "0"], [3, 0]), (["a", "b", "c", "d"], [0, 1, 2, 3]), (["1", "2", "3", "4"], [0, 1, 2, 3])],
)
def test_a_file_without_names_goes_by_number_or_by_order(names, outputs):
    assert images.outputs_of(names, Model(None), learn=True) == outputs


@pytest.mark.parametrize("names", [["a", "b"], ["0", "9"], ["a", "b", "c", "d", "e"]])
def test_otherwise_nothing_is_guessed(names):
    with pytest.raises(Failure, match="Name the folders 0 to 3, or have one for each output, .* with class_names"):
        images.outputs_of(names, Model(None), learn=True)


def test_labels_are_what_the_loss_takes():
    labels = np.array([2, 0], np.int32)
    assert images.targets(labels, Model(None)) is labels
    one_hot = images.targets(labels, Model(None, loss="categorical_crossentropy"))
    np.testing.assert_array_equal(one_hot, [[0, 0, 1, 0], [1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (16,)}, r"takes \[16\], not images"),
        ({"shape": (8, 8, 4)}, "not images of 1 or 3 channels"),
        ({"output": (3, 5, 4)}, r"a class at each of \[3, 5\] places"),
        ({"loss": "mean_squared_error"}, "exported with mean_squared_error, not for classes"),
    ],
)
def test_a_model_that_takes_no_images_or_knows_no_classes_is_refused(changes, message):
    with pytest.raises(Failure, match=message):
        images.check_takes_images(Model(None, **changes))


@pytest.mark.parametrize(("inputs", "heads"), [("ab", "y"), ("a", "yz")])
def test_a_model_of_several_inputs_or_outputs_is_refused(inputs, heads):
    model = Model(None)
    model.info |= {"inputs": [{"name": name} for name in inputs], "heads": [{"name": name} for name in heads]}
    message = f"the inputs {', '.join(inputs)} and the outputs {', '.join(heads)}; tinytl takes models from one image"
    with pytest.raises(Failure, match=message):
        images.check_takes_images(model)
