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
    "lite_residual": frozenset(),
    "lite_residual+bias": frozenset({"bias", "beta"}),
    "norm+last": frozenset({"gamma", "beta"}),
    "full": None,
}
_TRAIN_BRANCHES = ("lite_residual", "lite_residual+bias")


def check_method(method: str) -> None:
    """Refuses a method that does not exist.

    Raises:
        ValueError: `method` is not one of `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")


def trains(method: str, weight_name: str, layer_class: str) -> bool:
    """Whether `method` trains a weight of this name in a layer that is neither the classifier nor a branch.

    A gamma in a layer whose class name holds no "Norm", such as ConvNeXt's LayerScale, is no normalization's.
    """
    trained = _TRAINED_WEIGHTS[method]
    if method == "norm+last" and "norm" not in layer_class.lower():
        return False
    return trained is None or weight_name in trained


def trains_branches(method: str) -> bool:
    """Whether lite residual branches are what `method` trains, so that it inserts them."""
    return method in _TRAIN_BRANCHES


def inserts_branches(method: str, branches: bool | None) -> bool:
    """Whether `convert` inserts lite residual branches: where `method` trains them, or as `branches` says."""
    return trains_branches(method) if branches is None else branches


def trains_in_branch(method: str, weight: str) -> bool:
    """Whether `method` trains a weight of a lite residual branch, named as in `layers.LiteResidual`.

    The last beta stays frozen with `lite_residual+bias`, as in the paper's code: it would do the same as the
    bias of the block's own last layer.
    """
    if trains_branches(method):
        return method == "lite_residual" or weight != "last_norm/beta"
    layer, name = weight.split("/")
    return trains(method, name, layer)
