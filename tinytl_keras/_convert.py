"""convert(): from a model to a copy of it in which only what a method says trains."""

import keras

from tinytl_keras._checks import check_arguments, check_trains_something
from tinytl_keras._classifier import find_classifier, new_classifier
from tinytl_keras._keras_compat import graph_of, layers_within
from tinytl_keras._model_copy import ModelCopy


def convert(
    model: keras.Model, method: str = "bias", *, num_classes: int | None = None, head_dropout: float = 0.0
) -> keras.Model:
    """Makes a model that learns on a small device: a copy in which only a few weights train.

    Example:

    ```python
    backbone = keras.applications.MobileNetV2((224, 224, 3))
    model = tinytl_keras.convert(backbone, "bias", num_classes=5, head_dropout=0.2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels)
    ```

    What trains:

    - `"last"`: the classifier, its kernel and its bias, and nothing else.
    - `"bias"`: the classifier, every bias of a convolution or dense layer, and the beta of every batch, group
      and layer normalization.
    - `"full"`: every weight that Keras would train, were no layer's `trainable` set to False.

    BatchNormalization uses its stored statistics in all methods, in training too, and never changes them.

    The *classifier* of an output is the last layer with weights before it, if that is a Dense layer, or a 1x1
    convolution on a 1x1 map; between it and the output there may be anything that has one input and no
    weights (softmax, dropout, reshape). It may be in a model inside the model. With `num_classes` the
    classifier and all that is behind it are replaced by `[global average pooling] -> [Dropout] -> Dense`,
    pooled where the classifier's input has more than two axes. A model that has no classifier, such as one
    made with `include_top=False`, gets the new one behind its output.

    Freezing is part of the new model's layers, which are those of `tinytl_keras.layers`: it outlives saving,
    `keras.models.clone_model`, `copy.deepcopy`, `trainable = True` and `compile`. To load a saved model, import
    `tinytl_keras` first. A layer of another class of which the method would train only a part (a custom layer,
    a recurrent one, attention) is frozen whole, see `tinytl_keras.layers.FrozenLayer`, with a warning.

    Args:
        model: A Keras 3 model that is functional, or Sequential and built; models inside it, shared layers,
            and several inputs and outputs are fine. It is left as it is. Its class, if it is a subclass, and
            its compilation are not taken over.
        method: `"last"`, `"bias"` or `"full"`. Defaults to `"bias"`. The others of `METHODS` are to come.
        num_classes: Number of outputs of a new, linear classifier (logits, `[batch, num_classes]`, float32).
            None, the default: the model keeps its outputs, and its classifiers train.
        head_dropout: Rate of a Dropout layer before the new classifier. Defaults to 0: no such layer.

    Returns:
        A new functional `keras.Model` of its own weights. Its inputs, layer names and weight order are those
        of `model`; so are its outputs, to the bit, where `num_classes` is None.

    Raises:
        TypeError: `model` is no Keras 3 model.
        ValueError: `model` is not built or has no graph, `method`, `num_classes` or `head_dropout` is out of
            range, `num_classes` is given for a model of several outputs, or nothing would train.
    """
    check_arguments(model, method, num_classes, head_dropout)
    paths = [find_classifier(output) for output in graph_of(model).outputs]
    if num_classes is None:
        copy = ModelCopy(method, classifiers=[path[-1].operation for path in paths if path])
        converted = copy.model(model)
    else:
        copy = ModelCopy(method, classifiers=[])
        taken_names = {layer.name for layer in layers_within(model)} - {node.operation.name for node in paths[0][-1:]}
        converted = copy.model(model, cut=paths[0], head=new_classifier(num_classes, head_dropout, taken_names))
    copy.copy_weights()
    check_trains_something(converted, method)
    return converted
