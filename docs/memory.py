"""Draws docs/memory.png, the README's picture of a training step: `.venv/bin/python docs/memory.py`."""

import pathlib

import keras
import matplotlib

matplotlib.use("Agg")

import tinytl_keras

network = keras.applications.MobileNetV2((224, 224, 3), weights=None)
report = tinytl_keras.memory_report(tinytl_keras.convert(network, method="bias", num_classes=10), kernels="builtin")
report.plot().figure.savefig(pathlib.Path(__file__).with_suffix(".png"), dpi=110)
