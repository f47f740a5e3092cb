"""The options of `tflite_export.export` as flags, for the verbs that compile a training step."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

_RANGE = {"lower_bound": 1}


def define(values: flags.FlagValues, activation_gradients: bool = True) -> None:
    """Adds the flags. A flag that is not given leaves the function's own default."""
    flags.DEFINE_integer(
        "batch_size", None, "Images of a training step (1 unless given).", **_RANGE, flag_values=values
    )
    flags.DEFINE_integer(
        "micro_batch", None, "Images at once: the same step in less memory.", **_RANGE, flag_values=values
    )
    flags.DEFINE_integer("infer_batch_size", None, "Images of an inference (1 unless given).", flag_values=values)
    flags.DEFINE_string("optimizer", None, "sgd (unless given) or adam.", flag_values=values)
    flags.DEFINE_string("loss", None, "sparse_categorical_crossentropy unless given.", flag_values=values)
    flags.DEFINE_float("label_smoothing", None, "In [0, 1).", flag_values=values)
    flags.DEFINE_float("clip_norm", None, "Of the gradient of all variables together.", flag_values=values)
    flags.DEFINE_list(
        "class_names", None, "cup,plant,keys: of the first outputs; the rest stay spare.", flag_values=values
    )
    flags.DEFINE_float(
        "input_scale", None, "The model's input is pixel * scale + offset, e.g. 0.00784314.", flag_values=values
    )
    flags.DEFINE_float("input_offset", None, "See --input_scale; e.g. -1.", flag_values=values)
    flags.DEFINE_string("runtime", None, "litert (unless given) or micro.", flag_values=values)
    flags.DEFINE_string(
        "kernels",
        None,
        "LiteRT's: xnnpack (unless given) or builtin. TFLite Micro's: builtin (unless given) or tinytl.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "train_from", None, "A layer or block, a fraction of the layers, or budget.", flag_values=values
    )
    flags.DEFINE_string("frozen", None, "Frozen kernels: float32 (unless given) or int8.", flag_values=values)
    if activation_gradients:  # make_trainable does not have it
        flags.DEFINE_string(
            "activation_gradients",
            None,
            "exact (unless given) or one_bit, of hard-swish and swish.",
            flag_values=values,
        )
    flags.DEFINE_string("memory_budget", None, "Of a training step, such as 256KB or 8MB.", flag_values=values)


def given(values: flags.FlagValues, without: Sequence[str] = ()) -> dict:
    """The options that stand on the command line, as the function takes them, but those in `without`."""
    options = {name: values[name].value for name in values if values[name].present and name not in without}
    if "train_from" in options:
        options["train_from"] = _number(options["train_from"], float)
    if "memory_budget" in options:
        options["memory_budget"] = _number(options["memory_budget"], int)
    return options


def _number(text: str, kind: type):
    try:
        return kind(text)
    except ValueError:
        return text
