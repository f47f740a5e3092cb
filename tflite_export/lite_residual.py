"""The sizes of a lite residual branch: rules of the paper, for Keras layers and for operators alike.

Source: section 3.3 of Cai et al., NeurIPS 2020, and the official code, `lite_residual.py`.
"""

from __future__ import annotations

KERNEL_SIZE = 5
GROUPS = 2
POOL = 2
NORM_EPSILON = 1e-3
CHANNELS_PER_GROUP = 8  # of group normalization


def kernel_for(resolution: int, largest: int) -> int:
    """The kernel of a branch that convolves a map of this size (height or width): the paper's rule.

    Args:
        resolution: Rows of the pooled map, r.
        largest: The configured kernel.

    Returns:
        The largest odd kernel, in steps of 2 down from `largest`, that is no larger than the map; 0 stands for
        the global form: a map of one row or none is averaged whole, and its kernel is 1x1.
    """
    if resolution <= 1:
        return 0
    return next(size for size in range(largest, 0, -2) if size <= resolution)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` next to `channels`, at least `divisor`, and not less than nine tenths of it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`."""
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)
