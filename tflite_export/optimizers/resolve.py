"""From a name or a Keras optimiser to one of ours."""

from __future__ import annotations

from tflite_export.optimizers.adam import Adam
from tflite_export.optimizers.sgd import SGD

_OPTIMIZERS = {"sgd": SGD, "adam": Adam}
# Of Keras's configuration, what must have this value for the optimiser to be ours.
_NEUTRAL = {
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
    "amsgrad": False,
}


def resolve(optimizer) -> SGD | Adam:
    """The optimiser that a name, one of ours or a Keras optimiser stands for. Its learning rate is not looked at.

    Raises:
        ValueError: it is unknown, or a Keras optimiser does something that ours does not.
    """
    if isinstance(optimizer, SGD | Adam):
        return optimizer
    if isinstance(optimizer, str) and optimizer in _OPTIMIZERS:
        return _OPTIMIZERS[optimizer]()
    if type(optimizer).__module__.startswith("keras."):
        config = optimizer.get_config()
        differing = {key: config[key] for key, value in _NEUTRAL.items() if config.get(key, value) != value}
        if differing:
            instead = ". Clip by export(…, clip_norm=…) instead" if "global_clipnorm" in differing else ""
            raise ValueError(f"keras.optimizers.{type(optimizer).__name__} with {differing} is not supported{instead}")
        decay = {"weight_decay": config.get("weight_decay") or 0.0}
        if type(optimizer).__name__ == "SGD":
            return SGD(config["momentum"], config["nesterov"], **decay)
        if type(optimizer).__name__ in ("Adam", "AdamW"):
            return Adam(config["beta_1"], config["beta_2"], config["epsilon"], **decay)
    raise ValueError(
        f"optimizer {optimizer!r} is not supported; use 'sgd', 'adam', tflite_export.SGD(…) or tflite_export.Adam(…)"
    )
