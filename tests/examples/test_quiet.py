import os

import pytest
from quiet import quiet_stderr


def test_native_words_are_kept_back(capfd):
    with quiet_stderr():
        os.write(2, b"native words")
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


def test_they_are_shown_if_the_block_fails(capfd):
    with pytest.raises(ImportError), quiet_stderr():
        os.write(2, b"why it failed")
        raise ImportError
    os.write(2, b", afterwards")
    assert capfd.readouterr().err == "why it failed, afterwards"
