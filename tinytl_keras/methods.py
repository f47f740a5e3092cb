"""The training methods: which weights each one trains.

The names are the paper's (Cai et al., NeurIPS 2020, section 4): `last` is FT-Last, `bias` TinyTL-B,
`lite_residual` TinyTL-L, `lite_residual+bias` TinyTL-L+B, `norm+last` FT-Norm+Last and `full` FT-Full.
"""

METHODS = ("last", "bias", "lite_residual", "lite_residual+bias", "norm+last", "full")

# The weights that train outside the classifier, by the name that Keras gives them; None: all of them.
# A normalization's beta is the bias of the layer before it.
_TRAINED_WEIGHTS: dict[str, frozenset[str] | None] = {
    "last": frozenset(),
    "bias": frozenset({"bias", "beta"}),
    "full": None,
}


def check_method(method: str) -> None:
    """Refuses a method that does not exist, or does not exist yet.

    Raises:
        ValueError: `method` is not one of `METHODS`, or `convert` cannot apply it yet.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")
    if method not in _TRAINED_WEIGHTS:
        built = tuple(_TRAINED_WEIGHTS)
        raise ValueError(f"method={method!r} is not built yet. Use one of {built}, which are.")


def trains(method: str, weight_name: str) -> bool:
    """Whether `method` trains a weight of this name in a layer that is not the classifier."""
    trained = _TRAINED_WEIGHTS[method]
    return trained is None or weight_name in trained
