"""What a long call is at, as a bar on the terminal: a large network takes minutes on a small machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from tqdm.auto import tqdm

Begin = Callable[[str], None]


@contextlib.contextmanager
def stages(names: Sequence[str]) -> Iterator[Begin]:
    """A bar over `names`, which is gone at the end; as the command line's other bars it shows on a terminal alone.

    Yields:
        What is to be called with each name as that stage begins; again where one comes again.
    """
    bar_format = "{desc} |{bar:20}| {n_fmt}/{total_fmt} [{elapsed}]"
    with tqdm(total=len(names), leave=False, disable=None, bar_format=bar_format) as bar:

        def begin(name: str) -> None:
            bar.n = names.index(name)
            bar.set_description_str(name)

        yield begin


def unseen(name: str) -> None:
    """In place of what `stages` yields."""
