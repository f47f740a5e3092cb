"""Messages in one line."""

import errno

import pytest

from tflite_export.cli.failure import in_one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("It differs.\n  missing: a\n  missing: b"), "It differs. missing: a; missing: b"),
        (ValueError("one, \n two"), "one, two"),
        (ValueError(), "ValueError"),
        (OSError("no number"), "no number"),
        (FileNotFoundError(2, "No such file", "a.jpg"), "a.jpg: No such file."),
        (OSError(errno.ENOSPC, "No space left"), "No space left. Free some space, or name a file on another disk."),
        (OSError(errno.EROFS, "Read-only", "/x"), "/x: Read-only. The disk is read-only: name a file on another one."),
        (MemoryError(), "There is not enough memory. Use fewer images, or a file with smaller ones."),
    ],
)
def test_a_message_is_one_line_and_says_what_to_do(error, line):
    assert in_one_line(error) == line
