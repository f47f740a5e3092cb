"""Damaged copies of files, as transmission, flash memory and malice make them."""

from __future__ import annotations

import struct

import numpy as np

_BYTES = (0x00, 0x01, 0x02, 0x03, 0x04, 0x7F, 0x80, 0xFE, 0xFF)
_INTEGERS = (0, -1, 1, 2, 4, 127, 128, 255, 65535, 65536, 2**31 - 1, -(2**31))


class Mutator:
    """Mutates files; the same seed and files make the same sequence.

    Args:
        files: what is mutated, small ones more often than large ones, which take long to read.
        seed: of the sequence.
    """

    def __init__(self, files: list[bytes], seed: int):
        self.files, self.random = files, np.random.default_rng(seed)
        shares = np.array([1 / len(file) for file in files])
        self.shares = shares / shares.sum()
        self.tried = (self.flip_bits, self.set_bytes, self.set_integers, self.truncate, self.splice, self.repeat)

    def __call__(self) -> bytes:
        """The next damaged file: one to three changes to one of the files."""
        content = bytearray(self.files[self.random.choice(len(self.files), p=self.shares)])
        for _ in range(1 + int(self.random.integers(3)) // 2):
            way = self.random.choice(len(self.tried), p=(0.25, 0.2, 0.4, 0.02, 0.08, 0.05))
            content = self.tried[way](content)
        return bytes(content)

    def position(self, content: bytearray, align: int = 1) -> int:
        """Half of the time among the four bytes that are small numbers, as offsets, indices and shapes are; anywhere
        would nearly always be in the weights."""
        last = max(len(content) - 4, 1)
        for _ in range(20):
            at = int(self.random.integers(last)) // align * align
            if (
                self.random.random() < 0.2
                or abs(int.from_bytes(content[at // 4 * 4 :][:4], "little", signed=True)) < 4096
            ):
                return at
        return at

    def flip_bits(self, content: bytearray) -> bytearray:
        for _ in range(1 + int(self.random.integers(3))):
            content[self.position(content)] ^= 1 << int(self.random.integers(8))
        return content

    def set_bytes(self, content: bytearray) -> bytearray:
        content[self.position(content)] = self.random.choice(_BYTES)
        return content

    def set_integers(self, content: bytearray) -> bytearray:
        """An aligned int32: one of `_INTEGERS`, a small number, or one more or less than it was."""
        at = self.position(content, align=4)
        if at + 4 > len(content):
            return content
        (value,) = struct.unpack_from("<i", content, at)
        choices = (int(self.random.choice(_INTEGERS)), int(self.random.integers(-4, 40)), value + 1, value - 1)
        value = choices[int(self.random.integers(len(choices)))]
        struct.pack_into("<I", content, at, value % 2**32)
        return content

    def truncate(self, content: bytearray) -> bytearray:
        return content[: int(self.random.integers(len(content) + 1))] or bytearray(1)

    def splice(self, content: bytearray) -> bytearray:
        """A piece of another file in place of one as long."""
        other = self.files[int(self.random.integers(len(self.files)))]
        length = int(self.random.integers(1, 65))
        start = int(self.random.integers(max(len(other) - length, 1))) // 4 * 4
        at = self.position(content, align=4)
        content[at : at + length] = other[start : start + length]
        return content

    def repeat(self, content: bytearray) -> bytearray:
        """A piece of the file over another piece of it, or once more behind itself."""
        length = int(self.random.integers(1, 65))
        start, at = self.position(content, align=4), self.position(content, align=4)
        piece = content[start : start + length]
        if self.random.random() < 0.5:
            return content[:at] + piece + content[at:]
        content[at : at + length] = piece
        return content
