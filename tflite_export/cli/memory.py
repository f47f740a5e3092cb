"""Shows where the memory of a training step goes, layer by layer.

tinytl memory converted.keras --batch_size 4 --plot memory.png
"""

from absl import flags

from tflite_export.cli import export_flags, keras_file

OPERANDS = ("model.keras",)
FLAGS = flags.FlagValues()
flags.DEFINE_enum(
    "accounting",
    "compiled",
    ["compiled", "paper"],
    "The step as it is compiled, or counted as in the paper.",
    flag_values=FLAGS,
)
flags.DEFINE_string("plot", None, "Draws it to this file, e.g. memory.png.", flag_values=FLAGS)
export_flags.define(FLAGS)


def run(source: str) -> None:
    model = keras_file.load(source)
    import tinytl_keras

    options = export_flags.given(FLAGS, without=("accounting", "plot"))
    report = tinytl_keras.memory_report(model, accounting=FLAGS.accounting, **options)
    print(report)
    if FLAGS.plot is not None:
        import matplotlib

        matplotlib.use("Agg")
        report.plot().figure.savefig(FLAGS.plot, dpi=140)
        print(f"Drawn: {FLAGS.plot}")
