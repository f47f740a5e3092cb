"""What the demo says before it trains, and its units."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.examples.test_demo import ROOT, demo


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--data=/no/such/folder", "demo: There is no folder /no/such/folder.\n"),
        ("--epochs=0", "demo: flag --epochs=0: 0 is not a positive integer\n"),
        ("folder/", "demo: unexpected: ['folder/']. A folder is given by --data=folder/\n"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_else(tmp_path, argument, message):
    result = demo(argument, f"--out={tmp_path}")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


# Runs the demo up to its pretraining, and prints which heavy modules it has imported.
SCRIPT = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "examples")!r}]
import demo
demo.digits.load = lambda *_: sys.exit("here pretraining would begin")
try:
    demo.app.run(demo.main, flags_parser=demo.parse)
finally:
    print(sorted({{"tensorflow", "keras"}} & set(sys.modules)))
"""


def begin(*arguments):
    return subprocess.run([sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_a_missing_folder_is_found_before_tensorflow_is_imported(tmp_path):
    result = begin("--data=/no/such/folder", f"--out={tmp_path}")
    assert (result.stdout, result.stderr) == ("[]\n", "demo: There is no folder /no/such/folder.\n")


def test_tensorflow_is_imported_without_a_word(tmp_path):
    for name in ("cup/1.png", "cup/2.png", "plant/1.png", "plant/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    result = begin(f"--data={tmp_path}", f"--out={tmp_path}/.out")
    assert result.stdout == "1. On the computer: pretraining on the digits 0 to 9\n['keras', 'tensorflow']\n"
    assert result.stderr == "here pretraining would begin\n"


def test_the_table_counts_kilobytes_as_the_report_counts_megabytes():
    import demo

    row = demo.Row("bias", [0.1, 0.9], 2277, 2_884_000, 1_409_000, 1.0)
    assert demo.table([row]).splitlines()[-1].split()[3:9] == ["2,277", "2,884", "KB", "1,409", "KB", "2.05"]
