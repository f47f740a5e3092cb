"""A CRC-32 inside the file it protects: one flipped bit in a tensor index would crash the interpreter's process.

The checksum stands behind `_MARK` in a metadata buffer of its own and is taken with its digits as zeros. It finds
damage, not malice.
"""

from __future__ import annotations

import zlib

METADATA_NAME = "tinytl_crc32"
_MARK = b"tinytl_crc32="
PLACEHOLDER = _MARK + b"00000000"


def seal(content: bytes) -> bytes:
    """`content`, which holds `PLACEHOLDER` once, with the checksum in its place."""
    digits = content.index(PLACEHOLDER) + len(_MARK)
    return content[:digits] + b"%08x" % zlib.crc32(content) + content[digits + 8 :]


def is_intact(content: bytes) -> bool | None:
    """Whether the checksum in `content` is right; None where there is none."""
    digits = content.find(_MARK) + len(_MARK)
    if digits < len(_MARK):
        return None
    zeroed = content[:digits] + b"0" * 8 + content[digits + 8 :]
    return content[digits : digits + 8] == b"%08x" % zlib.crc32(zeroed)
