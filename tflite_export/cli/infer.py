"""Prints the likeliest classes of each image.

tinytl infer model.tflite one.jpg two.jpg

What `tinytl train` learned is used where it stands beside the model.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from tflite_export.cli import images, learned
from tflite_export.cli.failure import in_one_line

OPERANDS = ("model.tflite", "image.jpg …")
FLAGS = flags.FlagValues()
flags.DEFINE_integer("top", 3, "Classes per image.", lower_bound=1, flag_values=FLAGS)
learned.define_state(FLAGS, none="; none for the model as exported")
learned.define_images(FLAGS)


def run(model_path: str, *paths: str) -> int:
    """Exit status 1 if an image could not be read; the others are answered all the same."""
    model = learned.open_learned(FLAGS.state, model_path, FLAGS.num_threads)
    images.check_takes_images(model)
    failed = False
    for path in paths:
        try:
            pixels = images.read_one(path, model, FLAGS.crop)
        except (OSError, ValueError) as error:
            learned.note(f"tinytl infer: {in_one_line(error)}")
            failed = True
            continue
        shares = probabilities(model.predict(pixels[None])[0], model.info["output_activation"])
        likeliest = np.argsort(-shares, kind="stable")[: FLAGS.top]
        print(
            f"{path}: " + ", ".join(f"{images.name_of(i, model)} {shares[i]:.1%}" for i in likeliest if shares[i] > 0)
        )
    return int(failed)


def probabilities(output: np.ndarray, activation: str) -> np.ndarray:
    """Of the classes, float64 [classes], from what `predict` gives for one image."""
    if activation != "linear":
        return output.astype(np.float64)
    powers = np.exp(output.astype(np.float64) - output.max())
    return powers / powers.sum()
