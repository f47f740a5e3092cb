"""What do frozen weights in 8 bits cost in accuracy?

frozen="int8" against frozen="float32", as paired_accuracy.py says it; the flags are those of transfer_accuracy.py. The
exit status is 1 if a method misses the mark.
"""

from __future__ import annotations

from absl import app, flags
from paired_accuracy import compare
from transfer_accuracy import halves, size_of_model

FLAGS = flags.FLAGS


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    return int(compare("frozen", "float32", "int8", *halves(size_of_model())))


if __name__ == "__main__":
    FLAGS.set_default("results", "out/int8_accuracy.json")
    app.run(main)
