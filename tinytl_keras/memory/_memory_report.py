"""memory_report(): what a training step of a model needs in memory."""

import operator
from typing import Any

import keras

from tinytl_keras.memory.compiled import compiled_report
from tinytl_keras.memory.paper import paper_report
from tinytl_keras.memory.report import MemoryReport

ACCOUNTINGS = ("compiled", "paper")


def memory_report(
    model: keras.Model, batch_size: int = 1, *, accounting: str = "compiled", **export_options: Any
) -> MemoryReport:
    """Tells what a training step of a model needs in memory, where it peaks, and what each layer stores for it.

    ```python
    report = tinytl_keras.memory_report(model, batch_size=8, optimizer="adam")
    print(report)
    report.plot().figure.savefig("memory.svg")
    ```

    - `"compiled"`: the truth for a device. The step that `tflite_export.export` would write with the same options is
      compiled, and not written: the constants of the file, the variables, and the arena as the runtime plans it. For
      LiteRT that is the plan of the builtin kernels, for either kernel set; what XNNPACK packs for itself, the
      interpreter's own data and temporaries on the heap are not in it. Operators are counted to the backward
      pass from the first one on that depends on the labels and the input; what is written before it and read in it is
      *stored*. The batch is taken through the network at once, or as `micro_batch` says.
    - `"paper"`: the accounting of the TinyTL paper, in which frozen weights have 8 bits and the backward pass takes
      nothing but what is stored for it: for comparison with its tables. All its rules, and those for what the paper
      does not speak of, are at the top of `tinytl_keras/memory/paper.py`.

    Args:
        model: A built Keras 3 model, converted or not. What trains is what is trainable in it. For `"paper"` it must
            be functional or Sequential.
        batch_size: Samples in a step.
        accounting: `"compiled"`, the default, or `"paper"`.
        **export_options: Those of `tflite_export.export`: `optimizer`, `loss`, `micro_batch`, `train_from`, `runtime`,
            …. `"paper"` has none.

    Returns:
        A `MemoryReport`: `.total_bytes`, `.parameter_bytes`, `.peak_activation_bytes` (of one sample), `.layers`, …;
        `print` it, `.plot()` it, or keep its `.to_json()`.

    Raises:
        TypeError: `model` is not a Keras 3 model, an option is not one of `export`, or `"paper"` got one.
        ValueError: `accounting` or `batch_size` is out of range, `model` is not built, the size of its input is not
            known, or `export` refuses it.
    """
    if accounting not in ACCOUNTINGS:
        raise ValueError(f"`accounting` must be one of {ACCOUNTINGS}. Received: accounting={accounting!r}")
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or operator.index(batch_size) < 1:
        raise ValueError(f"`batch_size` must be a whole number from 1. Received: batch_size={batch_size!r}")
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model (Keras 3). Received: {model!r} of type {type(model)}")
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} has no weights yet. Call `model.build(input_shape)` before `memory_report`."
        )
    batch_size = operator.index(batch_size)
    if accounting == "compiled":
        return compiled_report(model, batch_size, export_options)
    if export_options:
        raise TypeError(
            f"accounting='paper' counts without a compiler, so it takes no option {next(iter(export_options))!r}. "
            "Leave the options of `export` out, or pass accounting='compiled'."
        )
    return paper_report(model, batch_size)
