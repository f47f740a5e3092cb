"""Refusals before any work is done."""

from __future__ import annotations

KERNELS = ("xnnpack", "builtin")


def check_options(batch_size: int, infer_batch_size: int, kernels: str) -> None:
    """Raises ValueError for an option outside its range."""
    for name, value in (("batch_size", batch_size), ("infer_batch_size", infer_batch_size)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    if kernels not in KERNELS:
        raise ValueError(f"kernels must be one of {', '.join(map(repr, KERNELS))}, got {kernels!r}")


def check_model(model) -> None:
    """Raises TypeError for what is not a Keras 3 model, ValueError for a model that cannot be exported."""
    import keras

    if not isinstance(model, keras.Model):
        if type(model).__module__.startswith("tf_keras"):
            raise TypeError(
                "this is a tf_keras (Keras 2) model; save it with model.save('model.keras') or model.save('model.h5') "
                "and load it with keras.models.load_model (Keras 3)"
            )
        raise TypeError(f"export takes a keras.Model, got {type(model).__name__}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"the TFLite converter needs Keras's TensorFlow backend, got {keras.backend.backend()!r}; "
            "set KERAS_BACKEND=tensorflow before importing keras"
        )
    if not model.built or not getattr(model, "inputs", None):
        raise ValueError(f"model {model.name!r} is not built; call it on a batch or give it an Input first")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model {model.name!r} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "export takes models with one of each"
        )
    if not model.trainable_variables:
        raise ValueError(
            f"model {model.name!r} has no trainable weights; convert it first: tinytl_keras.convert(model, 'bias')"
        )
    unknown = [n for n in model.inputs[0].shape[1:] if n is None]
    if unknown:
        raise ValueError(
            f"the input of model {model.name!r} has the shape {tuple(model.inputs[0].shape)}; TFLite plans its memory "
            "ahead, so build the model with a fixed size, e.g. Input((224, 224, 3))"
        )
    wrong = sorted({str(v.dtype) for v in model.trainable_variables} - {"float32"})
    if wrong:
        raise ValueError(f"trainable weights must be float32, got {', '.join(wrong)}")
