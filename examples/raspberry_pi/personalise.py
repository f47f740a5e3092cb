"""A Raspberry Pi that learns to tell things apart: show it one, press a key, and it takes a few training steps.

    python personalise.py model.tflite                      # the camera
    python personalise.py model.tflite --inbox=inbox/       # photos that appear in a folder

model.tflite is what `tflite_export.export` wrote, for square RGB images. The folder that --memory names keeps what must
outlive a power cut: the state and the photos.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from absl import app, flags
from inbox import Inbox
from keys import Keys
from learner import Learner

from tflite_export.cli.failure import in_one_line

_MEMORY = flags.DEFINE_string("memory", "memory", "folder of what was learned and of the photos it was learned from")
_INBOX = flags.DEFINE_string("inbox", None, "folder to watch instead of the camera; photos in inbox/cup/ are cups")
_ONCE = flags.DEFINE_bool("once", False, "with --inbox: stop when the folder has no more photos")
_STEPS = flags.DEFINE_integer("steps", 4, "training steps after every photo", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 0.02, "learning rate", lower_bound=0.0)


def main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        raise app.UsageError("expected one argument, the exported file: personalise.py model.tflite")
    try:
        personalise(arguments[1])
    except (OSError, ValueError) as error:  # such as another model's state, a full disk
        sys.exit(f"personalise: {in_one_line(error)}")


def personalise(model_path: str) -> None:
    inbox = None if _INBOX.value is None else Inbox(Path(_INBOX.value))
    learner = Learner(model_path, Path(_MEMORY.value), _STEPS.value, _RATE.value)
    print(
        f"{learner.model.steps} steps taken, on {learner.photo_count()} photos of {', '.join(learner.names)}",
        flush=True,
    )
    with Keys() as keys, contextlib.suppress(KeyboardInterrupt):
        if inbox is None:
            watch_camera(learner, keys)
        else:
            watch_folder(learner, keys, inbox)


def watch_camera(learner: Learner, keys: Keys) -> None:
    """Shows what the camera sees until q is pressed; a digit says what it is, n names a new class."""
    from camera import Camera  # only a Raspberry Pi has it

    print(f"{_menu(learner)}, n: a new class, q: quit")
    with Camera(learner.size) as camera:
        while (key := keys.poll(0.2)) != "q":
            image = camera.capture()
            print(f"\r{_probabilities(learner, image)}\033[K", end="", flush=True)
            if name := _named(learner, keys, key):
                try:
                    print(f"\r{_learned(learner, image, name)}\033[K")
                except ValueError as error:  # a class too many
                    print(f"\r{error}\033[K")


def watch_folder(learner: Learner, keys: Keys, inbox: Inbox) -> None:
    """Learns from photos in the subfolders, and says what the others show. With a keyboard, a key then corrects it."""
    while True:
        for path, name in inbox.settled_photos():
            try:
                image = learner.read(path)
                if name is None:
                    print(f"{path.name}: {_probabilities(learner, image)}", flush=True)
                    name = _asked(learner, keys)
                if name is not None:
                    print(f"{path.name}: {_learned(learner, image, name)}", flush=True)
            except FileNotFoundError:  # taken away again meanwhile
                continue
            except ValueError as error:  # unreadable, or a class too many
                print(f"{path.name} is left out, and lies in {inbox.rejected}: {error}", file=sys.stderr, flush=True)
                inbox.reject(path)
            else:
                inbox.finish(path)
        if _ONCE.value and inbox.is_empty():
            return
        if keys.poll(inbox.interval) == "q":
            return


def _learned(learner: Learner, image, name: str) -> str:
    before, after = learner.learn(image, name)
    return f"learned {name}: {before:.0%} before, {after:.0%} now"


def _asked(learner: Learner, keys: Keys) -> str | None:
    """The name that a key gives; None where there is no keyboard, or it is no name's key."""
    if not keys.there:
        return None
    print(f"{_menu(learner)}, n: a new class, any other key: leave it")
    return _named(learner, keys, keys.poll(None))


def _named(learner: Learner, keys: Keys, key: str | None) -> str | None:
    if key == "n":
        return keys.line("\nname of the new class: ").strip() or None
    if key and key.isdigit() and 1 <= int(key) <= len(learner.names):
        return learner.names[int(key) - 1]
    return None


def _menu(learner: Learner) -> str:
    return ", ".join(f"{number}: {name}" for number, name in enumerate(learner.names[:9], 1))


def _probabilities(learner: Learner, image) -> str:
    found = sorted(learner.predict(image).items(), key=lambda item: -item[1])
    return "  ".join(f"{name} {probability:.0%}" for name, probability in found[:3])


if __name__ == "__main__":
    app.run(main)
