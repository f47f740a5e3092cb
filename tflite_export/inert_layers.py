"""Layers that do something in Keras's training and nothing in the exported step, which runs in inference mode."""

from __future__ import annotations

from collections.abc import Iterator

_RANDOM = (  # noise and augmentation; in inference mode they return their input
    "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise AugMix "
    "CutMix Equalization MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter "
    "RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale "
    "RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness "
    "RandomShear RandomTranslation RandomZoom Solarization"
).split()
_DROPPED_BRANCHES = {"StochasticDepth", "DropPath", "DropBlock2D"}  # of keras_cv and keras.applications.convnext
_RATES = ("rate", "_rate", "drop_path_rate")


def inert_layers(model) -> tuple[str, ...]:
    """``name (class)`` of every such layer of a Keras model and of models inside it, in forward order."""
    return tuple(f"{layer.name} ({type(layer).__name__})" for layer in model._flatten_layers() if any(_why(layer)))


def _why(layer) -> Iterator[bool]:
    import keras

    kinds = tuple(kind for kind in (getattr(keras.layers, name, None) for name in _RANDOM) if kind is not None)
    if isinstance(layer, kinds) or _DROPPED_BRANCHES.intersection(kind.__name__ for kind in type(layer).__mro__):
        yield all(getattr(layer, name, None) != 0 for name in _RATES)
    for option in ("dropout", "recurrent_dropout", "_dropout"):  # of attention and recurrent layers
        rate = getattr(layer, option, None)
        yield isinstance(rate, float) and rate > 0
