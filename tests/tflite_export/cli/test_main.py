"""Finding the verb, its help, and mistakes on the command line."""

import pytest

from tests.tflite_export.cli.conftest import tinytl
from tflite_export.cli import main


def run(capsys, *arguments):
    return main.main(arguments), *capsys.readouterr()


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
    assert lines[0].startswith(f"tinytl {verb} ") and result.stdout.count(f"\ntinytl {verb} ") == 1
    assert len(lines) < 30 and max(map(len, lines)) <= 120
    assert "None" not in result.stdout


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
