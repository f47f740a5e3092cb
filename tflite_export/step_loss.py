"""The loss of a training step: that of the only output, or the weighted sum over the outputs that train.

With several, a sample counts where the label of any output does. Each output's loss is the sum over its valid rows,
divided by all the samples that count (times the places in one of them): Keras's, with a ``sample_weight`` of 0 where a
label is missing. So it is the same step by way of micro-batches, whichever labels are missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Tensor, producers
from tflite_export.losses import OutputLoss
from tflite_export.losses.base import LossTensors, Rows, rows_that_count


@dataclasses.dataclass(frozen=True)
class StepLoss:
    """What the losses add to the graph.

    Attributes:
        labels: the inputs y, or y_<output>, by name.
        loss: float32 [1]; NaN where an input or a prediction is not finite.
        results: the outputs of the signature, by name: ``loss`` and ``correct`` int32 [1]. With several outputs
            ``correct`` is [n] for the n outputs that train, in their order, and so is ``losses`` float32 [n], before
            weighting.
        parts: what each output that trains adds, beside its prediction.
        count: float32 [1], how many rows, or with several outputs samples, count.
        poison: float32 [1]: 0, or NaN where an input or a prediction is not finite.
        checked: what must be finite for the step to train: the predictions, then a number for each input.
    """

    labels: Mapping[str, Tensor]
    loss: Tensor
    results: Mapping[str, Tensor]
    parts: Sequence[tuple[Tensor, LossTensors]]
    count: Tensor
    poison: Tensor
    checked: Sequence[Tensor]

    def seeds(self, b: Builder, mean: bool = True) -> dict[Tensor, Tensor]:
        """The gradient of the loss by every prediction: of the mean over the rows that count, or of their sum."""
        seeds: dict[Tensor, Tensor] = {}
        for prediction, tensors in self.parts:
            seed = tensors.gradient(b, prediction.shape, mean)
            seeds[prediction] = b.add(seeds[prediction], seed) if prediction in seeds else seed
        return seeds


def peel_activation(forward: Graph, name: str | None = None) -> tuple[Tensor, str]:
    """The logits of an output, and the name of the final activation that was peeled off ("linear" if none).

    Args:
        forward: a canonical forward graph.
        name: the output's; None where there is only one.
    """
    if name is None:
        (name,) = forward.outputs
    output = forward.outputs[name]
    last = producers(forward.ops).get(output)
    if last is not None and last.kind == "SOFTMAX":
        return last.inputs[0], "softmax"
    if last is not None and last.kind == "LOGISTIC":
        return last.inputs[0], "sigmoid"
    return output, "linear"


def final_layer(forward: Graph, name: str | None = None) -> tuple[str, int]:
    """The activation that an output ends in, and how many values its last axis has."""
    logits, activation = peel_activation(forward, name)
    return activation, logits.shape[-1] if logits.shape[1:] else 1


def labels_name(forward: Graph, output: str) -> str:
    """``y``, or ``y_<output>`` where the model has several outputs."""
    return "y" if len(forward.outputs) == 1 else f"y_{output}"


def outputs_and_logits(forward: Graph) -> dict[str, Tensor]:
    """What ``infer`` returns: ``output``, what the Keras model returns, and ``logits``.

    With several outputs, each by Keras's name, and ``<name>_logits`` where a softmax or sigmoid was peeled off.
    """
    if len(forward.outputs) == 1:
        return {**forward.outputs, "logits": peel_activation(forward)[0]}
    peeled = {name: peel_activation(forward, name) for name in forward.outputs}
    logits = {f"{name}_logits": tensor for name, (tensor, activation) in peeled.items() if activation != "linear"}
    return {**forward.outputs, **logits}


def loss_of(b: Builder, forward: Graph, loss) -> StepLoss:
    """Adds the loss of a canonical forward graph to `b`.

    Args:
        b: receives the operators.
        forward: the graph.
        loss: that of the only output, or an `OutputLoss` for each output that trains.

    Raises:
        ValueError: a loss does not fit its output.
    """
    (*several,) = loss if isinstance(loss, tuple) else ()
    trained = several or [OutputLoss(*forward.outputs, loss)]
    predictions = [_prediction(forward, one) for one in trained]
    inputs = [b.op("CHECKED_INPUT", (x,), (1,)) for x in forward.inputs.values() if x.dtype == "float32"]
    finite = [b.zero_or_nan((x,)) for x in predictions] if len(trained) > 1 else []
    parts = []
    for i, (one, prediction) in enumerate(zip(trained, predictions, strict=True)):
        others = finite[:i] + finite[i + 1 :]
        parts.append(one.loss.build(b, prediction, [*others, *inputs]))
    labels = {labels_name(forward, one.output): part.labels for one, part in zip(trained, parts, strict=True)}
    checked = (*predictions, *inputs)
    if len(forward.outputs) == 1:
        (part,) = parts
        results = {"loss": part.loss, "correct": part.correct}
        return StepLoss(labels, part.loss, results, [*zip(predictions, parts)], part.rows.count, part.poison, checked)

    batch = predictions[0].shape[0]
    parts, count = ([parts[0]], parts[0].rows.count) if len(parts) == 1 else _over_samples(b, parts, batch)
    weighted = [b.scale(part.loss, one.weight) for one, part in zip(trained, parts, strict=True)]
    total = weighted[0]
    for one in weighted[1:]:
        total = b.add(total, one)
    results = {
        "loss": total,
        "correct": b.concatenate([part.correct for part in parts], 0),
        "losses": b.concatenate([part.loss for part in parts], 0),
    }
    parts = [_weighted(b, part, one.weight) for one, part in zip(trained, parts, strict=True)]
    poison = parts[0].poison  # of all predictions
    return StepLoss(labels, total, results, [*zip(predictions, parts)], count, poison, checked)


def _prediction(forward: Graph, one: OutputLoss) -> Tensor:
    """What the loss compares with the labels."""
    logits, _ = peel_activation(forward, one.output)
    if not one.loss.of_logits:
        return forward.outputs[one.output]
    if len(logits.shape) < 2:
        which = "the model's output" if len(forward.outputs) == 1 else f"the model's output {one.output!r}"
        raise ValueError(
            f"{which} must be [batch, classes], or [batch, …, classes] for a class at every place, got "
            f"{list(logits.shape)}"
        )
    return logits


def _over_samples(b: Builder, parts: Sequence[LossTensors], batch: int) -> tuple[list[LossTensors], Tensor]:
    """The losses over the samples of which any label counts, and how many those are."""
    any_valid, places = None, []
    for part in parts:
        places.append(part.rows.valid.shape[0] // batch)
        valid = b.reshape(part.rows.valid, (batch, places[-1]))
        valid = valid if places[-1] == 1 else b.reduce("REDUCE_MAX", valid, [1], keep_dims=True)
        any_valid = valid if any_valid is None else b.maximum(any_valid, valid)
    samples = rows_that_count(b, any_valid)
    share = b.reshape(b.reduce("REDUCE_MAX", samples.weight, [0, 1]), (1,))  # 1 / count, or 0
    result = []
    for part, size in zip(parts, places, strict=True):
        valid = b.scale(part.rows.valid, 1 / size)
        rows = Rows(valid, samples.count, b.mul(valid, share))
        loss = b.mul(part.loss, b.mul(b.scale(part.rows.count, 1 / size), share))
        result.append(dataclasses.replace(part, loss=loss, rows=rows))
    return result, samples.count


def _weighted(b: Builder, part: LossTensors, weight: float) -> LossTensors:
    """With the gradients of `weight` times the loss."""
    rows = part.rows
    rows = Rows(b.scale(rows.valid, weight), rows.count, b.scale(rows.weight, weight))
    return dataclasses.replace(part, rows=rows)
