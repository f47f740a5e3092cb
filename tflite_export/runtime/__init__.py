"""Runs and trains an exported file. Needs numpy, ai-edge-litert, safetensors and tqdm; never imports TensorFlow."""

from tflite_export.runtime.on_device_model import OnDeviceModel
from tflite_export.runtime.results import Evaluation, StepResult
from tflite_export.runtime.schedules import cosine

__all__ = ["Evaluation", "OnDeviceModel", "StepResult", "cosine"]
