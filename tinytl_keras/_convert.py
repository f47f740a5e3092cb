"""convert(): from a model to a copy of it in which only what a method says trains."""

from collections.abc import Iterable
from typing import Any

import keras

from tinytl_keras._branches import plan_branches
from tinytl_keras._checks import check_arguments, check_trains_something
from tinytl_keras._classifier import find_classifier, new_classifier
from tinytl_keras._keras_compat import graph_of, layers_within
from tinytl_keras._model_copy import ModelCopy
from tinytl_keras.lite_residual import LiteResidualConfig
from tinytl_keras.methods import inserts_branches


def convert(
    model: keras.Model,
    method: str = "lite_residual+bias",
    *,
    num_classes: int | None = None,
    branches: bool | None = None,
    lite_residual: LiteResidualConfig = LiteResidualConfig(),  # noqa: B008, frozen
    blocks: str | Iterable[tuple[Any, Any]] = "auto",
    head_dropout: float = 0.0,
) -> keras.Model:
    """Makes a model that learns on a small device: a copy in which only a few weights train.

    Example:

    ```python
    backbone = keras.applications.MobileNetV2((224, 224, 3))
    model = tinytl_keras.convert(backbone, num_classes=5, head_dropout=0.2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels)
    ```

    What trains, beside the classifier:

    - `"last"`: nothing.
    - `"bias"`: every bias of a convolution or dense layer, and the beta of every batch, group and layer
      normalization, those inside custom layers and lite residual branches too.
    - `"lite_residual"`: all of every lite residual branch, see `tinytl_keras.layers.LiteResidual`.
    - `"lite_residual+bias"`, the default: both, but for the last beta of each branch, which would do the same as
      the bias of the block's own last layer.
    - `"norm+last"`: gamma and beta of every normalization.
    - `"full"`: every weight that Keras would train, were no layer's `trainable` set to False.

    *Branches* stand beside each residual or inverted residual block, but not beside a first inverted residual
    block that does not expand: `block(x) = main(x) + lite(x) [+ x]`. Their last gamma is 0 at first, so the
    outputs do not change. A block is found by how the layers are connected, in models inside the model too.
    Branches that the model has already are kept, and no block gets a second one. Each is one layer,
    `<block>_lite_residual`, called after what the names of the block's layers have in common, or its last layer.
    Its kernel is `lite_residual.kernel_size`, or the largest odd one that is no larger than the pooled map; for
    the paper's own nets (`tinytl_keras.backbones`) the map is that of a 128-pixel image, whatever the size. Its
    convolutions are weight-standardized where the block's are.

    BatchNormalization uses its stored statistics in all methods, in training too, and never changes them.

    The *classifier* of an output is the last layer with weights before it, if that is a Dense layer, or a 1x1
    convolution on a 1x1 map; between it and the output there may be anything that has one input and no
    weights (softmax, dropout, reshape). It may be in a model inside the model. With `num_classes` the
    classifier and all that is behind it are replaced by `[global average pooling] -> [Dropout] -> Dense`,
    pooled where the classifier's input has more than two axes. A model that has no classifier, such as one
    made with `include_top=False`, gets the new one behind its output.

    Freezing is part of the new model's layers, which are those of `tinytl_keras.layers`: it outlives saving,
    `keras.models.clone_model`, `copy.deepcopy`, `trainable = True` and `compile`. To load a saved model, import
    `tinytl_keras` first. A layer of another class of which the method trains only a part (a custom layer, a
    recurrent one, attention) is put in a `tinytl_keras.layers.FrozenLayer`, which always runs as in inference:
    inside it, and in the layers that it holds, weights are told by their names.

    Args:
        model: A Keras 3 model that is functional, or Sequential and built; models inside it, shared layers,
            and several inputs and outputs are fine. It is left as it is. Its class, if it is a subclass, and
            its compilation are not taken over.
        method: One of `tinytl_keras.METHODS`. Defaults to `"lite_residual+bias"`.
        num_classes: Number of outputs of a new, linear classifier (logits, `[batch, num_classes]`, float32).
            None, the default: the model keeps its outputs, and its classifiers train.
        branches: Whether to insert lite residual branches. None, the default: where the method is
            `"lite_residual"` or `"lite_residual+bias"`. True: with every method, as in the paper's table.
        lite_residual: Settings of the branches to insert. Defaults to the paper's.
        blocks: The blocks to put branches beside: `"auto"`, the default, or pairs of a block's input and output.
            Each is a layer's name, for that layer's output (an InputLayer's too), or a Keras tensor of the model;
            the branch is added to the output right there, so name the end of the main path, not the Add behind.
        head_dropout: Rate of a Dropout layer before the new classifier. Defaults to 0: no such layer.

    Returns:
        A new functional `keras.Model` of its own weights. Its inputs, layer names and weight order are those
        of `model`, branches left out; so are its outputs, to the bit, where `num_classes` is None.

    Raises:
        TypeError: `model` is no Keras 3 model, or `lite_residual` no `LiteResidualConfig`.
        ValueError: `model` is not built or has no graph, one of its layers cannot be copied, another argument is out
            of range, `num_classes` is given for a model of several outputs or one that predicts at every place of a
            map, a pair of `blocks` is not in the model, `blocks` are given where no branch is inserted, or nothing
            would train.

    Warns:
        UserWarning: Branches are to be inserted, and there is no block, or a part of the model that cannot be
            seen into (`tinytl_keras.register_block` tells of a layer class that is a block); or a layer of a user's
            class keeps a weight frozen that may be a bias and is not called so.
    """
    check_arguments(model, method, num_classes, head_dropout, branches, lite_residual, blocks)
    plan = plan_branches(model, blocks, lite_residual) if inserts_branches(method, branches) else {}
    paths = [find_classifier(output) for output in graph_of(model).outputs]
    if num_classes is None:
        copy = ModelCopy(method, [path[-1].operation for path in paths if path], plan)
        converted = copy.model(model)
    else:
        copy = ModelCopy(method, [], plan)
        taken_names = {layer.name for layer in layers_within(model)} - {node.operation.name for node in paths[0][-1:]}
        taken_names |= {branch.arguments["name"] for inserted in plan.values() for branch in inserted}
        converted = copy.model(model, cut=paths[0], head=new_classifier(num_classes, head_dropout, taken_names))
    copy.copy_weights()
    check_trains_something(converted, method)
    return converted
