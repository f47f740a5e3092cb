"""The memory accounting of the TinyTL paper, to the byte, for any Keras model.

Source: Cai, Gan, Zhu, Han, NeurIPS 2020, section 4.1, and its code (mit-han-lab/tinyml, `tinytl/`). It counts
`batch size x peak + parameters`, where

- a trainable parameter takes 4 bytes and a frozen one 1 byte (8-bit k-means), normalization and its statistics too;
- the peak is that of one forward pass, layer by layer in forward order, of *temporary + stored so far + held*, all in
  float32. *Temporary* is input + output // groups of a convolution (a depthwise one has a group per channel), input +
  output of a dense layer, the input of a normalization or activation. Padding, pooling, resizing, reshaping,
  dropout and sums take nothing: a convolution of a padded map is counted by the map itself.
- *Stored* for the backward pass, from its layer on, is the input of a convolution or dense layer whose kernel trains;
  the input of a normalization whose gamma trains, else nothing; of ReLU 1 bit a value; of other activations 4 bytes a
  value. Activations are stored, wherever they stand, if anything but the classifier trains.
- *Held* is the input of a block with an identity shortcut, by each layer in the block.
- The paper's code adds these up in single precision, one layer after the other, and so does this: above 16 MB a
  sample the peak is a few bytes off the exact sum.
- A block's main path comes first, then its lite residual branch. What waits beside a branch is not held.

Where the paper is silent:

- held is every map that some layer has read or made and a later one still reads. In a block with an identity shortcut
  that is the block's input; with a projected shortcut, concatenation or gate it is whatever waits there.
- A map that several layers store is stored once, by the first.
- LeakyReLU counts as ReLU; any other function or layer called an activation as sigmoid. The `activation` argument of
  a convolution or dense layer counts as a layer behind it.
- Any other layer with weights (attention, recurrent, embedding, one of your own) is a dense layer: input + output, and
  all its inputs stored if a weight of two axes or more trains. What is inside it is not seen.
- Any other layer without weights takes nothing, like pooling: Concatenate, Multiply, Rescaling.
- The size of a map that is padded, pooled or strided is Keras's.
- A shared layer's parameters count once, its maps once a call.
- The classifier is the one that `tinytl_keras.convert` replaces; where there is none, everything is below it.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tinytl_keras._classifier import find_classifier
from tinytl_keras._keras_compat import graph_of
from tinytl_keras.memory.leaf_calls import Call, Map, kind_of, leaf_calls
from tinytl_keras.memory.report import STORED, WORKING, LayerMemory, LiveTensor, MemoryReport, Moment, with_reach

_FLOAT, _FROZEN = 4, 1  # bytes

_CONVOLUTIONS = tuple(
    getattr(keras.layers, name)
    for name in "Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose".split()
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_RECTIFIERS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU)
_OTHER_ACTIVATIONS = (keras.layers.ELU, keras.layers.Softmax)
_RECTIFIER_FUNCTIONS = ("relu", "relu6", "leakyrelu")
_FUNCTIONS = {name.replace("_", "") for name in dir(keras.activations) if name[0] != "_"} - {"linear", "get"}


def paper_report(model: keras.Model, batch_size: int) -> MemoryReport:
    """The report of a built functional or Sequential model, see the top of this file.

    Raises:
        ValueError: The model has no graph, or the size of its input is not known.
    """
    calls = leaf_calls(model)
    adapts = _trains_below_the_classifier(model)
    moments, layers, stored, peak_tensors = [], [], [], []
    whole: set[Map] = set()
    stored_so_far = np.float32(0)
    for call, held in zip(calls, _held(calls), strict=True):
        temporary = _temporary(call)
        if temporary is None:
            continue
        kept = [(map_, nbytes) for map_, nbytes in _stored(call, adapts) if map_ not in whole]
        whole.update(map_ for map_, nbytes in kept if nbytes == _bytes(map_))
        live = np.float32(_sum(temporary)) + stored_so_far + np.float32(sum(map(_bytes, held)))
        moment = Moment(
            call.name,
            kind_of(call.layer),
            stored_bytes=batch_size * int(stored_so_far),
            working_bytes=batch_size * (int(live) - int(stored_so_far)),
            workspace_bytes=0,
        )
        if all(moment.live_bytes > earlier.live_bytes for earlier in moments):
            working = [*temporary, *((map_, _bytes(map_)) for map_ in held)]
            peak_tensors = [*_tensors(stored, STORED, batch_size), *_tensors(working, WORKING, batch_size)]
        moments.append(moment)
        forward = batch_size * sum(map(_bytes, call.outputs))
        layers.append(LayerMemory(call.name, call.block, forward, batch_size * _sum(kept), 0, moment.live_bytes))
        stored += kept
        stored_so_far += np.float32(_sum(kept))

    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    frozen = sum(math.prod(weight.shape) for weight in model.non_trainable_weights)
    peak = max((moment.live_bytes for moment in moments), default=0)
    parts = (
        ("trainable parameters, 4 bytes each", _FLOAT * trainable),
        ("frozen parameters, 1 byte each", _FROZEN * frozen),
        ("activations, at the peak", peak),
    )
    return MemoryReport(
        model=model.name,
        accounting="paper",
        batch_size=batch_size,
        total_bytes=sum(count for _, count in parts),
        parts=parts,
        parameter_bytes=_FLOAT * trainable + _FROZEN * frozen,
        peak_activation_bytes=peak // batch_size,
        trainable_parameters=trainable,
        frozen_parameters=frozen,
        layers=with_reach(layers),
        moments=tuple(moments),
        forward_moments=len(moments),
        peak_tensors=tuple(sorted(peak_tensors, key=lambda tensor: -tensor.nbytes)),
    )


def _temporary(call: Call) -> list[tuple[Map, int]] | None:
    """The maps that the layer reads and makes, with the bytes of them that count; None: the layer takes nothing."""
    inputs, outputs = [(map_, _bytes(map_)) for map_ in call.inputs], [(map_, _bytes(map_)) for map_ in call.outputs]
    if isinstance(call.layer, (*_CONVOLUTIONS, *_DEPTHWISE)):
        groups = _groups(call)
        return [*inputs, *((map_, nbytes // groups) for map_, nbytes in outputs)]
    if _is_norm(call.layer) or _mask_bits(call.layer):
        return inputs
    return [*inputs, *outputs] if getattr(call.layer, "weights", ()) else None


def _stored(call: Call, adapts: bool) -> list[tuple[Map, int]]:
    """What the layer stores for the backward pass; `adapts`: whether anything below the classifier trains."""
    bits = _mask_bits(call.layer)
    trained = [weight for weight in getattr(call.layer, "trainable_weights", ()) if _needs_input(weight)]
    if trained:
        return [(map_, _bytes(map_)) for map_ in call.inputs]
    return [(map_, -(-map_.size * bits // 8)) for map_ in call.inputs] if bits and adapts else []


def _needs_input(weight: keras.Variable) -> bool:
    """Kernels and gammas; a bias or beta gets its gradient without."""
    return len(weight.shape) > 1 or weight.name == "gamma"


def _mask_bits(layer: Any) -> int:
    """Bits a value that an activation stores; 0 for what is none."""
    if isinstance(layer, keras.layers.Activation):
        layer = layer.activation
    if isinstance(layer, keras.layers.Layer):
        return 1 if isinstance(layer, _RECTIFIERS) else 8 * _FLOAT * isinstance(layer, _OTHER_ACTIVATIONS)
    name = kind_of(layer).replace("_", "").lower()  # an operation of keras.ops is called after its function: HardSwish
    return 1 if name in _RECTIFIER_FUNCTIONS else 8 * _FLOAT * (name in _FUNCTIONS)


def _is_norm(layer: Any) -> bool:
    return "norm" in type(layer).__name__.lower() and not isinstance(layer, keras.layers.Wrapper)


def _groups(call: Call) -> int:
    if isinstance(call.layer, _CONVOLUTIONS):
        return getattr(call.layer, "groups", 1)
    return call.inputs[0].shape[0 if call.layer.data_format == "channels_first" else -1]


def _held(calls: Sequence[Call]) -> list[list[Map]]:
    """Of each call, the maps that calls before it have read or made and calls behind it still read."""
    last_read = {map_: i for i, call in enumerate(calls) for map_ in call.inputs}
    held, waiting = [], {}
    for i, call in enumerate(calls):
        waiting.update(dict.fromkeys(call.inputs))
        waiting = {map_: None for map_ in waiting if last_read.get(map_, -1) > i}
        held.append(list(waiting))
        waiting.update(dict.fromkeys(call.outputs))
    return held


def _trains_below_the_classifier(model: keras.Model) -> bool:
    paths = [find_classifier(output) for output in graph_of(model).outputs]
    classifiers = {id(weight) for path in paths if path for weight in path[-1].operation.weights}
    return any(id(weight) not in classifiers for weight in model.trainable_weights)


def _bytes(map_: Map) -> int:
    return _FLOAT * map_.size


def _sum(maps: Sequence[tuple[Map, int]]) -> int:
    return sum(nbytes for _, nbytes in maps)


def _tensors(maps: Sequence[tuple[Map, int]], role: str, batch_size: int) -> list[LiveTensor]:
    return [
        LiveTensor(map_.name, (batch_size, *map_.shape), "float32", batch_size * nbytes, role) for map_, nbytes in maps
    ]
