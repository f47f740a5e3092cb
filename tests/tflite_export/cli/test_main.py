"""Finding the verb, its help, and mistakes on the command line."""

import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

import tinytl_keras
from tests.tflite_export.cli.conftest import command, tinytl
from tflite_export.cli import main
from tflite_export.from_tflite import trainables


def run(capsys, *arguments):
    return main.main(arguments), *capsys.readouterr()


def operands_of(verb):
    return importlib.import_module(f"tflite_export.cli.{verb.replace('-', '_')}").OPERANDS


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",), ("-h",)])
def test_alone_it_lists_the_verbs(capsys, arguments):
    status, stdout, stderr = run(capsys, *arguments)
    assert (status, stderr) == (0, "")
    assert [line.split()[0] for line in stdout.splitlines()[2:-2]] == list(main.VERBS)


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_has_a_short_help_that_needs_no_tensorflow(verb):
    result = tinytl(verb, "--help")
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    usage = [line.split() for line in lines if line.startswith(f"tinytl {verb} ")]
    assert usage == [lines[2].split()] and len(usage[0]) >= 2 + len(operands_of(verb))
    assert len(lines) < 30 and max(map(len, lines)) <= 120
    assert "None" not in result.stdout


@pytest.mark.parametrize(
    ("verb", "takes_none"), [("infer", True), ("evaluate", True), ("train", False), ("merge", False)]
)
def test_the_help_says_where_state_may_be_none(capsys, verb, takes_none):
    _, stdout, _ = run(capsys, verb, "--help")
    (line,) = [line for line in stdout.splitlines() if line.split()[:1] == ["--state"]]
    assert ("none" in line) == takes_none


def test_training_without_a_state_is_refused(capsys):
    status, _, stderr = run(capsys, "train", "a.tflite", "photos", "--state=none")
    assert status == 1 and "--state none is for infer and evaluate" in stderr


@pytest.mark.parametrize(
    ("verb", "methods"), [("convert", tinytl_keras.METHODS), ("make-trainable", trainables.METHODS)]
)
def test_the_help_lists_the_methods(capsys, verb, methods):
    _, stdout, _ = run(capsys, verb, "--help")
    (line,) = [line for line in stdout.splitlines() if line.split()[:1] == ["--method"]]
    assert {word for word in re.findall(r"[a-z_+]+", line) if word in tinytl_keras.METHODS} == set(methods)


def test_the_package_runs_as_the_command_does():
    result = subprocess.run([sys.executable, "-m", "tflite_export.cli", "help"], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, main.overview() + "\n", "")


def test_help_before_a_verb_is_the_same(capsys):
    assert run(capsys, "help", "train") == run(capsys, "train", "--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "tinytl: there is no 'trian'. Did you mean 'train'?"),
        (("help", "xyz"), "tinytl: there is no 'xyz'. `tinytl help` lists"),
        (("train",), "tinytl train: model.tflite is missing."),
        (("train", "a.tflite"), "tinytl train: photos/ is missing."),
        (("infer", "a.tflite"), "tinytl infer: image.jpg is missing."),
        (("train", "a.tflite", "b", "c", "d"), "tinytl train: too much: c d."),
        (("train", "a", "b", "--epoch=2"), "tinytl train: Unknown command line flag 'epoch'"),
        (("train", "a", "b", "--epochs=0"), "tinytl train: flag --epochs=0"),
        (("train", "a", "b", "--epochs=few"), "tinytl train: flag --epochs=few"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    status, stdout, stderr = run(capsys, *arguments)
    assert (status, stdout) == (2, "")
    assert stderr.startswith(message) and len(stderr.splitlines()) == 1


def test_ctrl_c_while_a_verb_is_imported_is_one_line(capsys, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(main.importlib, "import_module", interrupted)
    assert run(capsys, "train", "a", "b") == (130, "", "\ntinytl train: interrupted; nothing was changed.\n")


def test_what_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in [
        name for name in sys.modules if name.startswith(("tflite_export.cli.train", "tflite_export.cli.images"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tflite_export.runtime.image_folder", raising=False)
    status, stdout, stderr = run(capsys, "train", "a", "b")
    assert (status, stdout) == (1, "") and len(stderr.splitlines()) == 1
    assert "PIL" in stderr and 'pip install "tinytl-keras[device]"' in stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    """As in `tinytl help train | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(command("inspect", "--help"), stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and stderr == ""


def test_a_terminal_that_cannot_show_a_character_shows_a_question_mark(model, photos):
    """Only the file's own two classes; the table has arrows."""
    shutil.rmtree(photos / "blue")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = tinytl("evaluate", model, photos, env=environment)
    assert result.returncode == 0, result.stderr
    assert "? red" in result.stdout
