"""Adds a training step to a .tflite that only infers.

tinytl make-trainable model.tflite trainable.tflite --num_classes 5 --class_names cup,plant,keys
"""

from absl import flags

from tflite_export.cli import export_flags

OPERANDS = ("model.tflite", "trainable.tflite")
FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "method", None, "last, bias (unless given), lite_residual, lite_residual+bias or full.", flag_values=FLAGS
)
flags.DEFINE_integer("num_classes", None, "A new head of this many outputs.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", None, "Of the new head and the branches (0 unless given).", flag_values=FLAGS)
export_flags.define(FLAGS, activation_gradients=False)
flags.DEFINE_bool("verify", True, "Check the training step before writing.", flag_values=FLAGS)


def run(source: str, destination: str) -> None:
    import tflite_export

    print(tflite_export.make_trainable(source, destination, **export_flags.given(FLAGS)))
