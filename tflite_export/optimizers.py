"""Optimisers as operators: from a variable's old value and its gradient to the new value."""

from __future__ import annotations

import dataclasses

from tflite_export.builder import Builder
from tflite_export.graph import Tensor


@dataclasses.dataclass(frozen=True)
class SGD:
    """``w -= learning_rate * gradient``. The learning rate is an input of the step."""

    name = "sgd"

    def update(self, b: Builder, value: Tensor, gradient: Tensor, learning_rate: Tensor) -> Tensor:
        """Adds the update to `b` and returns the new value of a variable."""
        return b.sub(value, b.mul(learning_rate, gradient))

    def describe(self) -> dict[str, object]:
        """For the file's metadata."""
        return {"name": self.name, **dataclasses.asdict(self)}


def resolve(optimizer) -> SGD:
    """The optimiser that a name, one of ours or a Keras optimiser stands for."""
    if isinstance(optimizer, SGD):
        return optimizer
    if optimizer == "sgd":
        return SGD()
    if type(optimizer).__name__ == "SGD" and type(optimizer).__module__.startswith("keras"):
        config = optimizer.get_config()
        neutral = {"momentum": 0.0, "nesterov": False, "weight_decay": None, "clipnorm": None, "global_clipnorm": None,
                   "clipvalue": None, "use_ema": False, "loss_scale_factor": None,
                   "gradient_accumulation_steps": None}  # fmt: skip
        differing = {key: config[key] for key, value in neutral.items() if config.get(key, value) != value}
        if not differing:
            return SGD()
        raise ValueError(f"keras.optimizers.SGD with {differing} is not supported yet; plain SGD is")
    raise ValueError(f"optimizer {optimizer!r} is not supported yet; use 'sgd' or tflite_export.SGD()")
