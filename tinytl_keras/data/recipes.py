"""The paper's settings of each data set, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on a data set.

    From the paper (Cai et al., NeurIPS 2020, section 4.1) and `tinytl/exp_scripts/batch8` of mit-han-lab/tinyml.
    The optimizer is Adam (0.9, 0.999, 1e-8) without weight decay; the rate falls to 0 on a cosine over all steps, and
    there is no warm-up.

    Attributes:
        learning_rate: Highest rate, at `batch_size`.
        label_smoothing: e in `target * (1 - e) + e / classes`.
        color_jitter: Whether training images change brightness, contrast, saturation and hue.
        epochs: Passes over the training images.
        batch_size: Images per step.
        crop_area: Least and greatest part of an image's area that a training crop covers.
    """

    learning_rate: float
    label_smoothing: float
    color_jitter: bool = False
    epochs: int = 50
    batch_size: int = 8
    crop_area: tuple[float, float] = (0.22, 1.0)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "fgvc_aircraft": Recipe(16e-4, 0.7, color_jitter=True),
        "cars196": Recipe(8e-4, 0.7, color_jitter=True),
        "caltech_birds2011": Recipe(6e-4, 0.7),
        "oxford_flowers102": Recipe(2e-4, 0.7),
        "oxford_iiit_pet": Recipe(0.5e-4, 0.7),
        "food101": Recipe(2e-4, 0.1),
        "cifar10": Recipe(3e-4, 0.1),
        "cifar100": Recipe(3e-4, 0.1),
    }
)
"""By the name in tensorflow-datasets. It has no aircraft: load those from a folder, with `recipe="fgvc_aircraft"`."""

OTHER = Recipe(2e-4, 0.1)
"""For data sets that are not in the paper. Our choice: the settings of Food-101, the paper's largest."""


def recipe_for(dataset: str) -> Recipe:
    """The recipe of a data set, `OTHER` for one that is not in the paper.

    Args:
        dataset: As for `load`: `"tfds:cars196"`, with or without a version or a config behind it, or a folder. A name
            without `tfds:` is looked up too.
    """
    name = str(dataset).removeprefix("tfds:").split(":")[0].split("/")[0]
    return RECIPES.get(name, OTHER)


def resolve_recipe(recipe: Recipe | str | None, dataset: str) -> Recipe:
    """What `load` takes as `recipe`.

    Raises:
        ValueError: It is a name that is not in `RECIPES`.
        TypeError: It is neither a name nor a `Recipe`.
    """
    if recipe is None:
        return recipe_for(dataset)
    if isinstance(recipe, Recipe):
        return recipe
    if not isinstance(recipe, str):
        raise TypeError(f"`recipe` must be a Recipe, a name or None. Received: recipe={recipe!r}")
    if recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {tuple(RECIPES)}, or a Recipe. Received: recipe={recipe!r}")
    return RECIPES[recipe]
