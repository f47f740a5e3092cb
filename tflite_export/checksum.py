"""A CRC-32 inside the file it protects: one flipped bit in a tensor index would crash the interpreter's process.

The checksum stands behind `_MARK` in a metadata buffer of its own and is taken with its digits as zeros. It finds
damage, not malice.
"""

from __future__ import annotations

import zlib

METADATA_NAME = "tinytl_crc32"
_MARK = b"tinytl_crc32="
PLACEHOLDER = _MARK + b"00000000"
METADATA = {METADATA_NAME: PLACEHOLDER}  # what a program needs for `seal`


def seal(content: bytes) -> bytes:
    """`content`, which holds `PLACEHOLDER` once, with the checksum in its place."""
    digits = content.index(PLACEHOLDER) + len(_MARK)
    return content[:digits] + _digits(content, digits) + content[digits + 8 :]


def is_intact(content: bytes) -> bool | None:
    """Whether the checksum in `content` is right; None where there is none."""
    found = content.find(_MARK)
    if found < 0:
        return None
    digits = found + len(_MARK)
    return content[digits : digits + 8] == _digits(content, digits)


def _digits(content: bytes, digits: int) -> bytes:
    """The checksum of `content` with zeros at `digits`, without a copy of it."""
    view = memoryview(content)
    crc = zlib.crc32(view[digits + 8 :], zlib.crc32(b"0" * 8, zlib.crc32(view[:digits])))
    return b"%08x" % crc
