"""What `export` and `make_trainable` show while they work: on a terminal their stages, and nothing elsewhere."""

import io
import re
import sys

import keras
import pytest

import tflite_export
from tests.tflite_export.inference_files import file


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def shown(monkeypatch, is_terminal: bool, call) -> list[tuple[str, str]]:
    """The stages that stand on stderr, as they come, with how many were done before."""
    screen = Screen(is_terminal)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", screen)
        call()
    assert is_terminal or not screen.getvalue()
    return list(dict.fromkeys(re.findall(r"([a-z]+ing) \|.*?\| (\d/\d)", screen.getvalue())))


def exported(path, **options):
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Flatten(), keras.layers.Dense(3)])
    return lambda: tflite_export.export(model, path, **options)


@pytest.mark.parametrize("verify", [True, False])
def test_stages_of_an_export(verify, tmp_path, monkeypatch):
    names = ["lowering", "compiling", *["verifying"] * verify, "measuring"]
    found = shown(monkeypatch, True, exported(tmp_path / "model.tflite", verify=verify))
    assert found == [(name, f"{i}/{len(names)}") for i, name in enumerate(names)]


def test_nothing_where_nobody_looks(tmp_path, monkeypatch):
    assert shown(monkeypatch, False, exported(tmp_path / "model.tflite", verify=False)) == []


def test_stages_of_a_file_made_trainable(tmp_path, monkeypatch):
    found = shown(
        monkeypatch,
        True,
        lambda: tflite_export.make_trainable(file("float32"), tmp_path / "model.tflite", method="last"),
    )
    assert [name for name, _ in found] == ["reading", "compiling", "verifying"]
