"""The Raspberry Pi example on a folder, with keys through a pseudo-terminal, and with a stand-in for picamera2."""

import os
import pty
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.examples.goldens.check import images
from tflite_export.runtime import OnDeviceModel

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/raspberry_pi"
GOLDEN = Path(__file__).parent / "goldens/train"
MODEL = GOLDEN / "model.tflite"
LITERT = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"

sys.path.insert(0, str(EXAMPLE))

from inbox import Inbox  # noqa: E402
from learner import Learner  # noqa: E402


@pytest.fixture
def photos():
    """uint8 [8, 8, 8, 3]."""
    return images(GOLDEN)


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def put(pixels, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def arguments(tmp_path, *more):
    return [sys.executable, EXAMPLE / "personalise.py", MODEL, f"--memory={tmp_path / 'memory'}", *more]


def environment(*path):
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}


def personalise(tmp_path, *more, **options):
    return subprocess.run(
        arguments(tmp_path, *more),
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_without_a_terminal_it_learns_from_subfolders_and_goes_on_after_a_restart(tmp_path, inbox, photos):
    put(photos[0], inbox / "cup/1.png")
    put(photos[1], inbox / "plant/1.png")
    result = personalise(tmp_path, f"--inbox={inbox}", "--once")
    assert (result.returncode, result.stderr.replace(LITERT, "")) == (0, "")
    assert len(re.findall(r"1\.png: learned (?:cup|plant): \d+% before, \d+% now", result.stdout)) == 2
    assert {str(path.relative_to(inbox)) for path in inbox.rglob("*.png")} == {".seen/cup/1.png", ".seen/plant/1.png"}

    put(photos[0], inbox / "what.png")
    result = personalise(tmp_path, f"--inbox={inbox}", "--once")
    assert "8 steps taken, on 2 photos of cup, plant, käse" in result.stdout
    model = OnDeviceModel(MODEL, tmp_path / "memory/state.safetensors")
    logits = model.predict(photos[:1])[0, :3].astype(float)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    best = probabilities.argmax()
    assert f"what.png: {model.class_names[best]} {probabilities[best]:.0%}  " in result.stdout


def test_it_learns_what_the_runtime_learns(tmp_path, photos):
    learner = Learner(MODEL, tmp_path, steps=3, learning_rate=0.1)
    before, after = learner.learn(photos[0], "plant")
    expected = OnDeviceModel(MODEL)
    first = softmax(expected.predict(photos[:1])[0, :3])[1]
    for _ in range(3):  # no other photo is there yet, so the batch is this one
        expected.train_step(photos[[0, 0, 0, 0]], np.ones(4, int), 0.1)
    np.testing.assert_allclose([before, after], [first, softmax(expected.predict(photos[:1])[0, :3])[1]], rtol=1e-5)
    saved = OnDeviceModel(MODEL, tmp_path / "state.safetensors")
    np.testing.assert_allclose(saved.predict(photos), expected.predict(photos), rtol=1e-5)


def softmax(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum()


def test_a_batch_holds_the_new_photo_and_each_class_as_often(tmp_path, photos):
    learner = Learner(MODEL, tmp_path, steps=1, learning_rate=0.0)
    labels = {photo.tobytes(): label for photo, label in zip(photos, [0, 0, 0, 0, 0, 0, 0, 1])}
    for photo in photos:
        learner.learn(photo, learner.names[labels[photo.tobytes()]])
    assert learner.photo_count() == 8
    drawn = Counter()
    for _ in range(200):
        x, y = learner._batch(photos[0], 0)
        np.testing.assert_array_equal(x[0], photos[0])
        assert [labels[pixels.tobytes()] for pixels in x] == y.tolist()
        drawn.update(y[1:].tolist())
    assert abs(drawn[1] / 600 - 0.5) < 0.1  # five standard deviations


def test_the_same_photo_twice_is_one(tmp_path, photos):
    learner = Learner(MODEL, tmp_path, steps=1, learning_rate=0.0)
    learner.learn(photos[0], "cup")
    learner.learn(photos[0], "cup")
    assert learner.photo_count() == 1


def test_a_new_subfolder_is_a_new_class_while_outputs_are_spare(tmp_path, inbox, photos):
    put(photos[0], inbox / "mug/1.png")
    assert "learned mug" in personalise(tmp_path, f"--inbox={inbox}", "--once").stdout
    put(photos[1], inbox / "fork/1.png")
    result = personalise(tmp_path, f"--inbox={inbox}", "--once")
    assert "All 4 outputs have a name" in result.stderr
    assert (inbox / ".rejected/fork/1.png").exists()
    assert "photos of cup, plant, käse, mug" in result.stdout


@pytest.mark.parametrize("name", ["1.jpg", "2.HEIC"])
def test_an_unreadable_photo_is_put_aside(tmp_path, inbox, name):
    (inbox / "cup").mkdir()
    (inbox / "cup" / name).write_bytes(b"\xff\xd8 no photo")
    result = personalise(tmp_path, f"--inbox={inbox}", "--once")
    assert f"{name} is left out" in result.stderr
    assert (inbox / ".rejected/cup" / name).exists()


def test_a_photo_that_is_still_being_copied_is_left_alone(inbox):
    photo = inbox / "cup/1.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"half")
    watched = Inbox(inbox)
    assert watched.settled_photos() == []  # seen for the first time
    photo.write_bytes(b"the whole")
    assert watched.settled_photos() == []
    assert watched.settled_photos() == [(photo, "cup")]


def test_photos_of_the_same_name_do_not_replace_each_other(inbox, photos):
    watched = Inbox(inbox)
    for index in range(3):
        put(photos[index], inbox / "cup/photo.png")
        watched.finish(inbox / "cup/photo.png")
    seen = inbox / ".seen/cup"
    assert {path.name for path in seen.iterdir()} == {"photo.png", "photo-1.png", "photo-2.png"}
    for index, name in enumerate(["photo", "photo-1", "photo-2"]):
        with Image.open(seen / f"{name}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), photos[index])


def test_a_photo_that_is_taken_away_again_is_forgotten(inbox, photos, monkeypatch):
    put(photos[0], inbox / "cup/1.png")
    watched, original = Inbox(inbox), Inbox._photos
    monkeypatch.setattr(Inbox, "_photos", lambda self: [*original(self), inbox / "cup/gone.png"])
    assert watched.settled_photos() == []
    assert watched.settled_photos() == [(inbox / "cup/1.png", "cup")]


def test_what_a_file_manager_leaves_in_the_memory_is_not_in_the_way(tmp_path, photos):
    Learner(MODEL, tmp_path, steps=1, learning_rate=0.0).learn(photos[0], "cup")
    (tmp_path / "photos/.DS_Store").write_bytes(b"?")
    (tmp_path / "photos/0/.9a8b.png.part").write_bytes(b"?")
    (tmp_path / "photos/0/.hidden.png").write_bytes(b"?")
    learner = Learner(MODEL, tmp_path, steps=1, learning_rate=0.0)
    assert learner.photo_count() == 1
    learner.learn(photos[1], "cup")


def test_a_damaged_state_is_replaced_by_the_one_before(tmp_path, photos):
    learner = Learner(MODEL, tmp_path, steps=3, learning_rate=0.0)
    for photo in photos[:2]:
        learner.learn(photo, "cup")
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="Taken instead"):
        assert Learner(MODEL, tmp_path, steps=1, learning_rate=0.0).model.steps == 3


def test_a_disk_that_cannot_be_written_is_one_line_and_the_photo_stays(tmp_path, inbox, photos):
    """The limit stands for a full disk: the kernel refuses to write on."""
    put(photos[0], inbox / "cup/1.png")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # noqa: E731
    result = personalise(tmp_path, f"--inbox={inbox}", "--once", preexec_fn=limit)
    assert result.returncode == 1
    assert re.fullmatch(r"personalise: .*File too large\..*\n", result.stderr.replace(LITERT, ""))
    assert (inbox / "cup/1.png").exists()


def test_a_mistake_is_one_line(tmp_path):
    result = personalise(tmp_path, "--inbox=/no/such/folder")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "personalise: /no/such/folder is no folder. Make it first: mkdir /no/such/folder\n"


class Terminal:
    """The example at a pseudo-terminal."""

    def __init__(self, command, env):
        self._terminal, other = pty.openpty()
        self._process = subprocess.Popen(command, env=env, stdin=other, stdout=other, stderr=other)
        os.close(other)
        self.shown = ""

    def wait_for(self, text):
        """Reads until `text` is shown behind what was waited for before."""
        end = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            self.shown += os.read(self._terminal, 4096).decode()
        self.shown = self.shown.split(text, 1)[1]

    def press(self, keys):
        os.write(self._terminal, keys.encode())

    def quit(self):
        self.press("q")
        assert self._process.wait(timeout=60) == 0
        os.close(self._terminal)


def test_a_key_says_what_a_photo_shows(tmp_path, inbox, photos):
    terminal = Terminal(arguments(tmp_path, f"--inbox={inbox}"), environment())
    put(photos[0], inbox / "1.png")
    terminal.wait_for("1: cup, 2: plant, 3: käse, n: a new class, any other key: leave it")
    terminal.press("2")
    terminal.wait_for("learned plant")
    put(photos[1], inbox / "2.png")
    terminal.wait_for("any other key")
    terminal.press("n")
    terminal.wait_for("name of the new class: ")
    terminal.press("mug\n")
    terminal.wait_for("2.png: learned mug")
    terminal.quit()
    assert OnDeviceModel(MODEL, tmp_path / "memory/state.safetensors").class_names[3] == "mug"


PICAMERA2 = """
import numpy as np

class Picamera2:
    def create_video_configuration(self, main):
        return main

    def configure(self, main):
        self.shape, self.format = main["size"], main["format"]

    def start(self):
        assert self.format == "BGR888"

    def capture_array(self, name):
        width, height = self.shape
        return np.broadcast_to(np.array([255, 10, 20], np.uint8), (height, width, 3))

    def stop(self):
        pass

    close = stop
"""


def test_a_key_says_what_the_camera_sees(tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/picamera2.py").write_text(PICAMERA2)
    terminal = Terminal(arguments(tmp_path), environment(tmp_path / "modules"))
    terminal.wait_for("1: cup, 2: plant, 3: käse, n: a new class, q: quit")
    terminal.wait_for("%")
    terminal.press("3")
    terminal.wait_for("learned käse")
    for name, answer in (("mug", "learned mug"), ("fork", "All 4 outputs have a name")):
        terminal.press("n")
        terminal.wait_for("name of the new class: ")
        terminal.press(f"{name}\n")
        terminal.wait_for(answer)
    terminal.wait_for("%")
    terminal.quit()
    (photo,) = (tmp_path / "memory/photos/2").iterdir()
    with Image.open(photo) as image:
        np.testing.assert_array_equal(np.asarray(image), np.broadcast_to([255, 10, 20], (8, 8, 3)))


def test_without_picamera2_it_says_what_to_install(tmp_path):
    result = personalise(tmp_path)
    assert result.returncode == 1
    assert "sudo apt install python3-picamera2" in result.stderr


def test_it_never_imports_tensorflow():
    script = "import sys; import personalise, learner; print({'tensorflow', 'keras'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment(EXAMPLE), capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


def test_the_service_calls_the_script_with_flags_that_it_has():
    unit = (EXAMPLE / "personalise.service").read_text()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    assert command[1].endswith("examples/raspberry_pi/personalise.py")
    script = (EXAMPLE / "personalise.py").read_text()
    for flag in command[3:]:
        assert f'"{flag.removeprefix("--").split("=")[0]}"' in script
