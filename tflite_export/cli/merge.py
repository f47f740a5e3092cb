"""Writes what was learned into a .tflite that only infers, for any host of .tflite files.

tinytl merge model.tflite learned.tflite
"""

from absl import flags

from tflite_export.cli import learned

OPERANDS = ("model.tflite", "merged.tflite")
FLAGS = flags.FlagValues()
learned.define_state(FLAGS)


def run(source: str, destination: str) -> None:
    import tflite_export

    state = learned.existing_state(FLAGS.state, source)
    if state is None:
        raise learned.nothing_learned(source)
    tflite_export.merge(source, state, destination)
    print(f"Written: {destination}, {source} with what {state} holds.")
