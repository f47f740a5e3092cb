"""Compiles a .keras model into a .tflite that infers and trains, and holds it against Keras.

tinytl export converted.keras model.tflite --batch_size 4 --class_names cup,plant,keys

What trains is what is trainable in the model: `tinytl convert` sets that.
"""

from absl import flags

from tflite_export.cli import export_flags, keras_file

OPERANDS = ("model.keras", "model.tflite")
FLAGS = flags.FlagValues()
export_flags.define(FLAGS)
flags.DEFINE_bool("verify", True, "Run training steps beside Keras's before writing.", flag_values=FLAGS)


def run(source: str, destination: str) -> None:
    model = keras_file.load(source)
    import tflite_export

    print(tflite_export.export(model, destination, **export_flags.given(FLAGS)))
