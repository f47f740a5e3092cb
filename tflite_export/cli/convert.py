"""Freezes a trained .keras model and adds what a device trains; writes another .keras file.

tinytl convert model.keras converted.keras --method bias --num_classes 5
"""

from absl import flags

from tflite_export.cli import keras_file

OPERANDS = ("model.keras", "converted.keras")
FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "method",
    "lite_residual+bias",
    "last, bias, lite_residual, lite_residual+bias, norm+last or full.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_classes",
    None,
    "A new head of this many outputs; the old one stays unless given.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_float("head_dropout", 0.0, "Before a new head.", flag_values=FLAGS)


def run(source: str, destination: str) -> None:
    keras_file.check_keras_path(destination)
    model = keras_file.load(source)
    import tinytl_keras

    model = tinytl_keras.convert(model, FLAGS.method, num_classes=FLAGS.num_classes, head_dropout=FLAGS.head_dropout)
    keras_file.save(model, destination)
    print(tinytl_keras.summary(model))
    print(f"Written: {destination}. `tinytl export {destination} model.tflite` makes the file that trains.")
