"""A disk that is full, and one that is read-only: real ones, mounted in a namespace of Linux for the test alone."""

import shlex
import shutil
import subprocess

import pytest

from tests.tflite_export.cli.conftest import ROOT, command, write_images

UNSHARE = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


@pytest.fixture
def on_a_disk(tmp_path, model):
    """A function: lines of shell, run in a disk of 200 KB with model.tflite on it -> the finished process.

    `tinytl …` in them is the command line without TensorFlow; its status is printed behind its output.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    setup = f"mount -t tmpfs -o size=200k tmpfs {disk}"
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, setup], capture_output=True).returncode:
        pytest.skip("needs Linux, and leave to mount a disk in a namespace")
    tinytl = f'tinytl() {{ {shlex.join(command())} "$@" 2>&1; echo "status $?"; }}'

    def run(*lines):
        script = [
            setup, tinytl, f"cd {disk}", f"cp {model} model.tflite", "fill() { cat /dev/zero > filling 2>/dev/null; }",
            f"protect() {{ mount -o remount,ro {disk}; }}", *lines,
        ]  # fmt: skip
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        return subprocess.run([*UNSHARE, "\n".join(script)], capture_output=True, text=True, env=environment)

    return run


def parts_of(result):
    """The lines of each command, its status last."""
    assert result.stderr == "", result.stderr
    parts = [[]]
    for line in result.stdout.splitlines():
        parts[-1].append(line)
        if line.startswith("status "):
            parts.append([])
    return parts


FULL, READ_ONLY = ("fill", "No space left on device. Free some space"), ("protect", "Read-only file system.")


@pytest.mark.parametrize(("make", "message"), [FULL, READ_ONLY])
def test_what_was_learned_stays_and_goes_on_being_used(on_a_disk, photos, tmp_path, make, message):
    known = write_images(tmp_path / "known", ("red", "green"), 2)
    result = on_a_disk(
        *(f"tinytl train model.tflite {photos} --epochs=1 --keep=1", "md5sum *.safetensors", make),
        *(f"tinytl train model.tflite {photos} --epochs=1", "md5sum *.safetensors; ls -A"),
        *(f"tinytl evaluate model.tflite {known}", f"tinytl infer model.tflite {known}/red/0.png"),
        "tinytl merge model.tflite merged.tflite",
        f"tinytl merge model.tflite {tmp_path}/merged.tflite",
        "ls -A",
    )
    first, second, evaluate, infer, merge, elsewhere, rest = parts_of(result)
    assert first[-1] == "status 0"
    assert second[-1] == "status 1" and message in second[-2] and "the same command goes on from it" in second[-2]
    assert second[-2].startswith("tinytl train: model.safetensors cannot be written: ")
    assert evaluate[0] == second[0], "the state is the one from before"
    left = {"model.safetensors", "model.tflite", *(["filling"] if make == "fill" else [])}
    assert set(evaluate[1 : 1 + len(left)]) == left
    assert evaluate[-1] == infer[-1] == "status 0"
    assert any("with model.safetensors, 6 steps" in line for line in infer)
    assert merge[-1] == "status 1" and message in merge[-2] and merge[-2].startswith("tinytl merge: ")
    assert len([line for line in merge if "tinytl" in line]) == 1
    assert elsewhere[-1] == "status 0" and (tmp_path / "merged.tflite").exists()
    assert set(rest) == left


@pytest.mark.parametrize(("make", "message"), [FULL, READ_ONLY])
def test_images_that_do_not_fit_are_refused_before_anything_is_learned(on_a_disk, photos, make, message):
    """The images are 4 KB here; the limit is put below that."""
    tinytl = "tflite_export.cli.main import main\n"
    small = command()[2].replace(tinytl, f"{tinytl}import tflite_export.cli.images as i\ni._IN_MEMORY = 100\n")
    assert "_IN_MEMORY" in small
    train = shlex.join([command()[0], "-c", small, "train", "model.tflite", str(photos)])
    (lines,) = parts_of(on_a_disk(make, f"{train} 2>&1; echo $?; ls -A"))
    status = lines.index("1")
    assert "0 MB of images do not fit in ." in lines[status - 1] and message in lines[status - 1]
    assert set(lines[status + 1 :]) == {"model.tflite", *(["filling"] if make == "fill" else [])}
