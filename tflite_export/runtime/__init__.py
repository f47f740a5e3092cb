"""Runs and trains an exported file. Needs numpy, ai-edge-litert, safetensors and tqdm; never imports TensorFlow."""

from tflite_export.runtime.on_device_model import Evaluation, OnDeviceModel, StepResult
from tflite_export.runtime.schedules import cosine

__all__ = ["Evaluation", "OnDeviceModel", "StepResult", "cosine"]
