"""Image data sets for transfer learning, cropped and coloured as in the paper: `load("tfds:oxford_flowers102")`."""

from tinytl_keras.data._load import load as load
from tinytl_keras.data.image_data import ImageData as ImageData
from tinytl_keras.data.image_data import Sizes as Sizes
from tinytl_keras.data.recipes import RECIPES as RECIPES
from tinytl_keras.data.recipes import Recipe as Recipe
from tinytl_keras.data.recipes import recipe_for as recipe_for
