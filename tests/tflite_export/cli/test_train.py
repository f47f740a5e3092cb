"""`tinytl train` in fresh processes without TensorFlow, held against OnDeviceModel.fit on the same arrays."""

import errno
import os
import resource
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.tflite_export.cli.conftest import command, tinytl
from tflite_export.cli import images
from tflite_export.runtime import OnDeviceModel, cosine
from tflite_export.runtime import state as state_module
from tflite_export.runtime.image_folder import load_image_folder
from tflite_export.runtime.state import read_state


def assert_same_state(first, second):
    first, second = read_state(first), read_state(second)
    assert (first.step, first.class_names, first.progress) == (second.step, second.class_names, second.progress)
    assert first.tensors.keys() == second.tensors.keys()
    for name, value in first.tensors.items():
        np.testing.assert_array_equal(value, second.tensors[name], err_msg=name)


def test_it_is_fit_on_the_folder_and_new_classes_take_spare_outputs(model, photos, tmp_path):
    result = tinytl("train", model, photos, "--epochs=3", "--learning_rate=0.02", "--seed=4")
    assert result.returncode == 0, result.stderr
    samples = load_image_folder(photos, 8)  # blue, green, red
    by_hand = OnDeviceModel(model)
    assert by_hand.add_class("blue") == 2
    labels = np.array([2, 1, 0])[samples.labels]
    history = by_hand.fit(samples.images, labels, 3, learning_rate=cosine(0.02), seed=4, verbose=False)
    by_hand.save(tmp_path / "by_hand")
    assert_same_state(tmp_path / "model.safetensors", tmp_path / "by_hand")
    assert read_state(tmp_path / "model.safetensors").class_names == ["red", "green", "blue"]
    rows = [line.split() for line in result.stdout.splitlines()[1:4]]
    assert [row[1] for row in rows] == [f"{loss:.4f}" for loss in history["loss"]]
    assert "21 images of 3 classes" in result.stderr


def test_the_next_run_builds_on_the_last(model, photos, tmp_path):
    for _ in range(2):
        assert tinytl("train", model, photos, "--epochs=1").returncode == 0
    assert read_state(tmp_path / "model.safetensors").step == 12
    assert read_state(tmp_path / "model.1.safetensors").step == 6
    result = tinytl("train", model, photos, "--epochs=1", "--state", tmp_path / "other.safetensors")
    assert result.returncode == 0 and read_state(tmp_path / "other.safetensors").step == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_saves_and_the_same_command_goes_on_as_if_it_had_not_stopped(model, photos, tmp_path, number):
    arguments = ("train", model, photos, "--epochs=150", "--validation=0.3", "--num_threads=1", "--state")
    whole, state = tmp_path / "whole.safetensors", tmp_path / "state.safetensors"
    assert tinytl(*arguments, whole).returncode == 0
    process = subprocess.Popen(
        command(*arguments, state, "--save_every=0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not state.exists() or read_state(state).step < 20:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    stopped = read_state(state)
    assert stopped.progress is not None and stopped.best is not None
    assert f"What {stopped.step} steps have learned is in {state}; the same command goes on" in stderr
    assert "Traceback" not in stderr
    result = tinytl(*arguments, state)
    assert f"Goes on in epoch {stopped.progress.epoch + 1}, after {stopped.step} steps" in result.stderr
    assert_same_state(state, whole)


def interrupted_once(original, at=1):
    """`original`, but before its call number `at`, Ctrl-C."""
    calls = iter(range(1, 100_000))

    def function(*arguments, **options):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **options)

    return function


@pytest.mark.parametrize("phase", ["read_one", "outputs_of"])
def test_ctrl_c_before_training_changes_nothing(model, photos, in_process, monkeypatch, phase):
    before = sorted(model.parent.rglob("*"))
    monkeypatch.setattr(images, phase, interrupted_once(getattr(images, phase)))
    status, stdout, stderr = in_process("train", model, photos)
    assert (status, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "tinytl train: interrupted; nothing was changed." and "Traceback" not in stderr
    assert sorted(model.parent.rglob("*")) == before


@pytest.mark.parametrize("last", [False, True])
def test_ctrl_c_while_it_saves_breaks_no_save(model, photos, tmp_path, in_process, monkeypatch, last):
    """During a save of a step, and during the last one, with a second Ctrl-C in the save that follows."""
    arguments = ("train", model, photos, "--epochs=2", "--save_every=0", "--num_threads=1", "--state")
    whole, state = tmp_path / "whole.safetensors", tmp_path / "state.safetensors"
    assert in_process(*arguments, whole)[0] == 0
    saves = 1 + 12 + 1
    original = interrupted_once(state_module.write_state, saves if last else 8)
    monkeypatch.setattr(
        "tflite_export.runtime.on_device_model.write_state", original if last else interrupted_once(original, 9)
    )
    status, _, stderr = in_process(*arguments, state)
    assert status == 130 and "Traceback" not in stderr
    if last:
        assert "What 12 steps have learned is in" in stderr and "all epochs were done" in stderr
    else:
        assert "What 7 steps have learned is in" in stderr and "the same command goes on from there" in stderr
        assert read_state(state).progress.position == 1
        assert in_process(*arguments, state)[0] == 0
    assert_same_state(state, whole)


def test_under_nohup_the_end_of_a_session_stops_nothing(model, photos, in_process):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert in_process("train", model, photos, "--epochs=1")[0] == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_more_images_than_the_memory_is_to_hold_wait_on_the_disk(model, photos, tmp_path, in_process, monkeypatch):
    arguments = ("train", model, photos, "--epochs=2", "--validation=0.3", "--num_threads=1", "--state")
    assert in_process(*arguments, tmp_path / "memory.safetensors")[0] == 0
    monkeypatch.setattr(images, "_IN_MEMORY", 21 * 8 * 8 * 3 - 1)
    kinds, original = [], OnDeviceModel.fit

    def fit(self, x, *rest, **options):
        kinds.append(type(x))
        return original(self, x, *rest, **options)

    monkeypatch.setattr(OnDeviceModel, "fit", fit)
    status, _, stderr = in_process(*arguments, tmp_path / "disk.safetensors")
    assert status == 0 and f"wait in a file in {tmp_path} until the end" in stderr
    assert kinds == [np.memmap]
    assert_same_state(tmp_path / "memory.safetensors", tmp_path / "disk.safetensors")
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "model.tflite", "memory.safetensors", "memory.1.safetensors", "disk.safetensors", "disk.1.safetensors",
    }  # fmt: skip


def test_other_images_than_those_of_the_interrupted_run_begin_a_new_one(model, photos, tmp_path, in_process):
    stop = iter([None] * 7 + [KeyboardInterrupt()])

    def interrupt(self, x, y, rate, original=OnDeviceModel.train_step):
        if error := next(stop, None):
            raise error
        return original(self, x, y, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnDeviceModel, "train_step", interrupt)
        assert in_process("train", model, photos)[0] == 130
    (photos / "red" / "0.png").unlink()
    status, _, stderr = in_process("train", model, photos, "--epochs=1")
    assert status == 0 and "a new one begins where it ended" in stderr
    assert read_state(tmp_path / "model.safetensors").step == 7 + 5


def test_validation_is_held_out_by_name_and_the_best_epoch_is_kept(model, photos, in_process, tmp_path):
    status, stdout, stderr = in_process("train", model, photos, "--epochs=4", "--validation=0.3")
    assert status == 0 and "12 images of 3 classes" in stderr and "9 more held out" in stderr
    losses = [float(line.split()[3]) for line in stdout.splitlines()[1:5]]
    assert read_state(tmp_path / "model.safetensors").step == 3 * (1 + int(np.argmin(losses)))
    paths = sorted((photos / "red").iterdir())
    before = dict(zip(paths, images.held_out(paths, 0.3)))
    assert sum(before.values()) == 3
    one_more = [*paths, photos / "red" / "new.png"]
    after = dict(zip(one_more, images.held_out(one_more, 0.3)))
    assert sum(before[path] != after[path] for path in paths) <= 1
    assert images.held_out(paths[:1], 0.9) == [False]


def wrong_folder(photos, model):
    return photos / "none", "There is no folder"


def a_file(photos, model):
    return model, "is a file. Expected: a folder"


def loose_images(photos, model):
    return photos / "red", "7 images lie in the folder itself"


def empty_class(photos, model):
    (photos / "empty").mkdir()
    return photos, "'empty' has no image: put some into"


def unreadable_image(photos, model):
    (photos / "red" / "3.png").write_bytes(b"no image")
    return photos, "3.png cannot be read as an image"


def one_class(photos, model):
    for name in ("red", "green"):
        (photos / name).rename(photos.parent / name)
    return photos, "at least two subfolders, one per class. Found: ['blue']"


def another_models_state(photos, model):
    content = state_module.State({"other/bias": np.zeros(3, np.float32)}, "decaf")
    state_module.write_state(model.with_suffix(".safetensors"), content)
    return photos, "belongs to another model or optimizer; nothing was restored. missing: "


def a_strangers_safetensors(photos, model):
    import safetensors.numpy

    safetensors.numpy.save_file({"x": np.zeros(3)}, model.with_suffix(".safetensors"))
    return photos, "not a state that OnDeviceModel.save wrote"


def a_damaged_state(photos, model):
    model.with_suffix(".safetensors").write_bytes(b"half")
    return photos, "is not a complete safetensors file"


def a_damaged_model(photos, model):
    model.write_bytes(model.read_bytes()[:-50])
    return photos, "truncated or damaged"


def a_folder_that_is_not_there(photos, model):
    return photos, "there is no folder", "--state=none/x.safetensors"


def a_folder_as_the_state(photos, model):
    return photos, "Is a directory", f"--state={photos}"


def no_model(photos, model):
    model.unlink()
    return photos, "There is no file"


CASES = (
    *(wrong_folder, a_file, loose_images, empty_class, unreadable_image, one_class),
    *(a_folder_that_is_not_there, a_folder_as_the_state),
    *(another_models_state, a_strangers_safetensors, a_damaged_state, a_damaged_model, no_model),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_goes_wrong_is_one_line_and_changes_nothing(model, photos, in_process, case):
    folder, message, *options = case(photos, model)
    before = {path: path.read_bytes() for path in model.parent.rglob("*") if path.is_file()}
    status, stdout, stderr = in_process("train", model, folder, *options)
    assert (status, stdout) == (1, "")
    assert message in stderr.splitlines()[-1] and stderr.splitlines()[-1].startswith("tinytl train: ")
    assert "Traceback" not in stderr
    assert {path: path.read_bytes() for path in model.parent.rglob("*") if path.is_file()} == before


def test_more_classes_than_outputs_are_refused(model, photos, in_process):
    for name in ("a", "b"):
        (photos / name).mkdir()
        (photos / name / "0.png").write_bytes((photos / "red" / "0.png").read_bytes())
    status, _, stderr = in_process("train", model, photos)
    assert status == 1
    assert "'a', 'b', 'blue' cannot be learned: 2 of the model's 4 outputs have a name already" in stderr


def test_a_file_that_only_infers_is_told_how_to_train(tmp_path, photos, in_process):
    from tests.tflite_export.runtime import stand_in

    path = stand_in.write_file(tmp_path / "infers.tflite", signatures=("serving_default",))
    status, _, stderr = in_process("train", path, photos)
    assert status == 1 and "tinytl make-trainable" in stderr and len(stderr.splitlines()) == 1


def test_a_full_disk_is_found_before_the_first_step(model, photos, tmp_path):
    """The limit stands for a full disk: the kernel refuses to write on."""
    assert tinytl("train", model, photos, "--epochs=1").returncode == 0
    before = (tmp_path / "model.safetensors").read_bytes()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
    result = tinytl("train", model, photos, "--epochs=1", preexec_fn=limit)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert "model.safetensors cannot be written: File too large." in last and "the same command goes on" in last
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_up_during_training_loses_nothing_that_was_saved(
    model, photos, tmp_path, in_process, monkeypatch, number
):
    arguments = ("train", model, photos, "--epochs=3", "--save_every=0", "--num_threads=1", "--state")
    whole, state = tmp_path / "whole.safetensors", tmp_path / "state.safetensors"
    assert in_process(*arguments, whole)[0] == 0
    original, left = state_module.write_atomically, 12

    def fills_up(path, content):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(number, "the system's words")
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(state_module, "write_atomically", fills_up)
        status, _, stderr = in_process(*arguments, state)
    assert status == 1 and "state.safetensors cannot be written: the system's words." in stderr
    assert "disk" in stderr and "the same command goes on" in stderr
    assert 0 < read_state(state).step < 18
    assert in_process(*arguments, state)[0] == 0
    assert_same_state(state, whole)


def test_the_bar_shows_loss_accuracy_time_left_and_memory(model, photos, in_process, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    _, _, stderr = in_process("train", model, photos, "--epochs=2")
    last = stderr.split("\r")[-1]
    for part in ("12/12", "epoch=2/2", "loss=", "accuracy=", "memory=", " MB", "<"):
        assert part in last
