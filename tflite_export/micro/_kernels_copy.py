"""`copy_kernels`: the C kernels beside a generated program."""

from __future__ import annotations

import os
import pathlib
import shutil

_HOME = pathlib.Path(__file__).parent


def copy_kernels(folder: str | os.PathLike) -> None:
    """Copies headers and sources of the kernels to ``folder/include`` and ``folder/src``.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to copy the kernels to")
    for part in ("include", "src"):
        shutil.copytree(_HOME / part, folder / part, dirs_exist_ok=True)
