"""What do the approximated gradients of hard-swish cost in accuracy?

activation_gradients="one_bit" against "exact", as paired_accuracy.py says it. --network is one of pretrained.py, here
one with hard-swish, or "imagenet": that of --model, which should have some. The other flags are those of
transfer_accuracy.py. The exit status is 1 if a method misses the mark.
"""

from __future__ import annotations

from absl import app, flags
from paired_accuracy import compare
from pretrained import network_and_halves

FLAGS = flags.FLAGS


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    _, halves = network_and_halves()
    return int(compare("activation_gradients", "exact", "one_bit", *halves))


if __name__ == "__main__":
    FLAGS.set_default("network", "MobileNetV3Small@96")
    FLAGS.set_default("results", "out/one_bit_accuracy.json")
    app.run(main)
