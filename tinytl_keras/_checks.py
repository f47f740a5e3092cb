"""What convert() refuses, and what to do then."""

from numbers import Integral, Real
from typing import Any

import keras

from tinytl_keras._classifier import find_classifier, gives_probabilities
from tinytl_keras._keras_compat import graph_of, producer
from tinytl_keras.lite_residual import LiteResidualConfig
from tinytl_keras.methods import check_method, inserts_branches


def check_arguments(
    model: Any,
    method: str,
    num_classes: int | None,
    head_dropout: float,
    branches: bool | None,
    lite_residual: LiteResidualConfig,
    blocks: Any,
) -> None:
    """Raises the errors that `convert` documents, before any work is done."""
    check_method(method)
    _check_model(model)
    _check_head(model, num_classes, head_dropout)
    _check_branches(branches, lite_residual, blocks)
    if not (isinstance(blocks, str) or inserts_branches(method, branches)):
        raise ValueError(
            f"`blocks` says where lite residual branches go, and method={method!r} with branches={branches!r} inserts "
            "none. Pass branches=True, or leave `blocks` out."
        )


def _check_branches(branches: bool | None, lite_residual: LiteResidualConfig, blocks: Any) -> None:
    if branches not in (None, True, False):
        raise ValueError(
            "`branches` must be None (as the method needs), True (always) or False (never). "
            f"Received: branches={branches!r}"
        )
    if not isinstance(lite_residual, LiteResidualConfig):
        raise TypeError(
            "`lite_residual` must be a tinytl_keras.LiteResidualConfig, e.g. LiteResidualConfig(kernel_size=3). "
            f"Received: lite_residual={lite_residual!r}"
        )
    pairs = isinstance(blocks, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in blocks
    )
    if isinstance(blocks, str) and blocks == "auto":
        return
    if not pairs or not blocks:
        raise ValueError(
            "`blocks` must be 'auto' or a list of pairs of a block's input and output, layer names or tensors, e.g. "
            f"[('block_1_input', 'block_1_project')]. Received: blocks={blocks!r}"
        )


def _check_model(model: Any) -> None:
    if any(cls.__module__.startswith(("tf_keras.", "tensorflow.python.keras.")) for cls in type(model).__mro__):
        raise TypeError(
            f"`model` must be a Keras 3 model. Received a tf_keras (Keras 2) model: {type(model)}. Move it: "
            "`model.save('model.h5')`, then `keras.models.load_model('model.h5')` with Keras 3; or build the same "
            "architecture with Keras 3 and call `new_model.set_weights(model.get_weights())`."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {model!r} of type {type(model)}")
    if graph_of(model) is not None:
        return
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"Sequential model {model.name!r} has no input shape yet. Start it with `keras.Input(shape)` or call "
            "`model.build(input_shape)`, then load its weights, before `convert`."
        )
    raise ValueError(
        f"Model {model.name!r} ({type(model).__name__}) has no graph to convert: it is a subclassed model that "
        "defines its own `call`. Build it with the functional API, `keras.Model(inputs, outputs)`, or convert "
        "the functional models inside it. Wrapped, `keras.Model(x, model(x))`, it is one layer: what is named bias or "
        "beta in it trains, and no classifier or block in it is found."
    )


def _check_head(model: keras.Model, num_classes: int | None, head_dropout: float) -> None:
    if not isinstance(head_dropout, Real) or not 0 <= head_dropout < 1:
        raise ValueError(
            f"`head_dropout` must be a number of at least 0 and below 1. Received: head_dropout={head_dropout!r}"
        )
    if num_classes is None:
        if head_dropout:
            raise ValueError(
                f"`head_dropout` belongs to a new head. Received: head_dropout={head_dropout!r} with num_classes=None. "
                "Pass `num_classes` as well, or neither."
            )
        return
    if not isinstance(num_classes, Integral) or isinstance(num_classes, bool) or num_classes < 1:
        raise ValueError(f"`num_classes` must be an integer of 1 or more, or None. Received: {num_classes!r}")
    outputs = graph_of(model).outputs
    if len(outputs) != 1:
        raise ValueError(
            f"`num_classes` needs a model with one output. Received: num_classes={num_classes!r} and model "
            f"{model.name!r} with {len(outputs)} outputs. Pass num_classes=None to keep the heads, or convert "
            "`keras.Model(model.inputs, features)`."
        )
    (output,) = outputs
    on_a_map = len(output.shape) > 2 and gives_probabilities(producer(output)[0].operation)
    if on_a_map and not find_classifier(output):
        raise ValueError(
            f"`num_classes` puts one classifier behind a whole sample, and model {model.name!r} predicts at every "
            f"place: its output {tuple(output.shape)} is made of probabilities. Pass num_classes=None to keep its last "
            "layer, or build `keras.Model(model.input, new_layer(features))` on what that layer reads, and convert it."
        )


def check_trains_something(converted: keras.Model, method: str) -> None:
    """Refuses a converted model that could learn nothing."""
    if not converted.trainable_variables:
        raise ValueError(
            f"method={method!r} finds nothing to train in model {converted.name!r}: no classifier (a last Dense layer "
            "or 1x1 convolution on a 1x1 map) and no weight of the kind that the method trains. "
            "Pass `num_classes` for a new head, or take method='full'."
        )
