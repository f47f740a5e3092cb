"""The cost of an option in accuracy: pairs that differ in it alone, their table, and the exit status."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLASSES, EACH = 3, 12


@pytest.fixture
def arguments(tmp_path):
    """A network with hard-swish, pictures of stripes that it can tell apart, and a file for the runs."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(8, 3, strides=2, activation="hard_swish"),
            layers.Conv2D(8, 3, activation="hard_swish"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    model.save(tmp_path / "model.keras")
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        folder = tmp_path / "data" / str(label)
        folder.mkdir(parents=True)
        for i in range(EACH):
            pixels = random.integers(0, 60, (12, 12, 3)).astype(np.uint8)
            pixels[:: label + 1, :, label] += 150
            Image.fromarray(pixels).save(folder / f"{i}.jpg")
    given = {"model": "model.keras", "data": "data", "results": "runs.json"}
    flags = [f"--{name}={tmp_path / path}" for name, path in given.items()]
    return [*flags, "--network=imagenet", "--methods=bias", "--seed=0", "--seed=1", "--epochs=2", "--batch_size=4"]


def run(arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "one_bit_accuracy.py", *arguments]
    return subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)


def test_pairs_of_exact_and_approximated_gradients(arguments, tmp_path):
    first = run(arguments)
    assert first.returncode in (0, 1), first.stderr
    kept = json.loads((tmp_path / "runs.json").read_text())["rows"].values()
    found = {(row["seed"], row["activation_gradients"]): row for row in kept}
    assert set(found) == {(seed, value) for seed in (0, 1) for value in ("exact", "one_bit")}
    assert all(row["rate"] == 3e-3 and row["epochs"] == 2 for row in kept)
    for seed in (0, 1):
        assert found[seed, "exact"]["loss"] != found[seed, "one_bit"]["loss"]

    _, _, *rows = (line.split("  ") for line in first.stdout.splitlines() if "  " in line or "---" in line)
    exact, one_bit = ([cell.strip() for cell in row if cell.strip()] for row in rows)
    accuracy = {key: 100 * row["accuracy"] for key, row in found.items()}
    points = [accuracy[seed, "one_bit"] - accuracy[seed, "exact"] for seed in (0, 1)]
    assert exact[:2] == ["bias", "exact"] and one_bit[:2] == ["bias", "one_bit"]
    assert exact[3] == ", ".join(f"{accuracy[seed, 'exact']:.2f}" for seed in (0, 1))
    assert one_bit[5:7] == [f"{sum(points) / 2:+.2f}", ", ".join(f"{one:+.2f}" for one in points)]
    missed = sum(points) / 2 < -0.5
    assert (one_bit[7], first.returncode) == (("MISSED", 1) if missed else ("met", 0))

    edited = json.loads((tmp_path / "runs.json").read_text())
    for row in edited["rows"].values():
        row["accuracy"] = 0.5 if row["activation_gradients"] == "exact" else 0.49
    (tmp_path / "runs.json").write_text(json.dumps(edited))
    again = run(arguments)
    assert again.returncode == 1 and "-1.00, -1.00  MISSED" in again.stdout, again.stderr  # read, not trained again
