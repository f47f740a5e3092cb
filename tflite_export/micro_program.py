"""The one entry of a file for TFLite Micro: ``step(x, y, learning_rate, mode)``.

TFLite Micro has no signatures: it enters subgraph 0, and plans memory for whatever that one can reach. So inference and
training are the two branches of an IF on `mode`; they never run together and share their memory.

Variables have no entry of their own. Firmware reads and writes them through the `MicroResourceVariables` that it hands
to the interpreter: the id of a variable is ``CreateIdIfNoneFound("", name)``, and `Read` and `Assign` copy its values.
The first run assigns the initial values (CALL_ONCE), so a stored state is restored *after* one run with mode 0.
`MicroInterpreter::Reset` sets every variable to zero, and no later run assigns the initial values again.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant, integers
from tflite_export.compilation import compile_signature
from tflite_export.graph import Graph, Op, Program, Tensor
from tflite_export.micro_arena import dictated_offsets
from tflite_export.passes.legalise_micro import check_operators
from tflite_export.step_loss import outputs_and_logits

INFER, TRAIN = 0, 1  # mode
ENTRY = "step"


def branches(train: Graph, forward: Graph) -> tuple[Graph, Graph]:
    """Training and inference with the same inputs and outputs, still canonical.

    Args:
        train: the training step of `forward`.
        forward: the model's canonical forward graph, at the training step's batch size.

    Returns:
        ``train`` and ``infer``: x, y, learning_rate -> output, logits, loss, correct (of several inputs and outputs the
        names of ``train`` and `step_loss.outputs_and_logits`). Inference reads x alone, and its loss and correct are 0.
        Training returns the output that the loss was computed from, before the update.
    """
    b, predicted = Builder("output"), {}
    for name, tensor in reversed(outputs_and_logits(forward).items()):
        if tensor in predicted.values():  # two outputs of a branch are two tensors
            tensor = b.op("RESHAPE", (tensor, integers(tensor.shape)), tensor.shape, new_shape=tensor.shape)
        predicted[name] = tensor
    predicted = dict(reversed(predicted.items()))
    nothing = {name: constant(np.zeros(x.shape), x.dtype, name) for name, x in train.outputs.items()}
    infer = Graph("infer", train.inputs, {**predicted, **nothing}, (*forward.ops, *b.ops))
    return train.replace(outputs={**predicted, **train.outputs}, ops=(*train.ops, *b.ops)), infer


def step(train: Graph, infer: Graph) -> Graph:
    """The entry, of the two `branches` in their final form.

    Its inputs are theirs and ``mode`` int32 [1]: 1 trains, everything else infers.

    Raises:
        ValueError: an operator that TFLite Micro does not have.
    """
    for branch in (train, infer):
        check_operators(branch)
    inputs = {**{name: _like(tensor) for name, tensor in train.inputs.items()}, "mode": Tensor("mode", (1,), "int32")}
    outputs = {name: _like(tensor) for name, tensor in train.outputs.items()}
    b = Builder(ENTRY)
    condition = b.compare("EQUAL", inputs["mode"], constant(TRAIN, "int32"))
    taken = (condition, *(tensor for name, tensor in inputs.items() if name != "mode"))
    graphs = {"then_graph": _apart(train), "else_graph": _apart(infer)}
    b.copy(Op("IF", taken, tuple(outputs.values()), graphs, ENTRY))
    return Graph(ENTRY, inputs, outputs, tuple(b.ops))


def assemble(train: Graph, forward: Graph, form: str = "micro", frozen: str = "float32") -> Program:
    """The program of a canonical training step and of the forward graph that it began with, with `frozen` kernels.

    Args:
        form: "micro" for TFLite Micro's own operators, "tinytl" for our custom operators beside them.
    """
    entry = step(*(compile_signature(graph, form, frozen) for graph in branches(train, forward)))
    return Program((entry,), offsets=dictated_offsets(entry))


def _like(tensor: Tensor) -> Tensor:
    return dataclasses.replace(tensor, data=None)


def _apart(graph: Graph) -> Graph:
    """`graph` with tensors of its own: training and inference began as one forward pass."""
    written = (*graph.inputs.values(), *(tensor for op in graph.ops for tensor in op.outputs))
    own = {tensor: dataclasses.replace(tensor) for tensor in written}

    def renewed(tensors):
        return tuple(own.get(tensor, tensor) for tensor in tensors)

    ops = tuple(dataclasses.replace(op, inputs=renewed(op.inputs), outputs=renewed(op.outputs)) for op in graph.ops)
    inputs = dict(zip(graph.inputs, renewed(graph.inputs.values()), strict=True))
    outputs = dict(zip(graph.outputs, renewed(graph.outputs.values()), strict=True))
    return graph.replace(inputs=inputs, outputs=outputs, ops=ops)
