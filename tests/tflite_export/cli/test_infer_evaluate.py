"""`tinytl infer` and `tinytl evaluate`, held against OnDeviceModel on the same arrays."""

import numpy as np
import pytest

from tests.tflite_export.cli.conftest import tinytl, write_images
from tflite_export.cli import evaluate, infer
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.image_folder import load_image_folder

KNOWN = ("red", "green")


@pytest.fixture
def known(tmp_path):
    return write_images(tmp_path / "known", KNOWN, 6, seed=3)


@pytest.fixture
def trained(model, known):
    """The file, with something learned beside it."""
    learner, samples = OnDeviceModel(model), load_image_folder(known, 8)
    learner.fit(samples.images, 1 - samples.labels, 40, learning_rate=0.02, verbose=False)
    learner.save(model.with_suffix(".safetensors"))
    return model


def test_infer_and_evaluate_use_what_was_learned_and_need_no_tensorflow(trained, known):
    samples = load_image_folder(known, 8)  # green, red
    model = OnDeviceModel(trained, trained.with_suffix(".safetensors"))
    logits = model.predict(samples.images).astype(np.float64)
    answers = logits.argmax(axis=1)
    right = int((answers == 1 - samples.labels).sum())
    result = tinytl("evaluate", trained, known)
    assert result.returncode == 0, result.stderr
    assert f"{right} of 12 images" in result.stdout.splitlines()[0]
    cells = {line.split()[0]: line.split()[3:] for line in result.stdout.splitlines()[3:]}
    for name, label in (("red", 0), ("green", 1)):
        counts = [((samples.labels == 1 - label) & (answers == other)).sum() for other in (0, 1)]
        assert cells[name] == [str(count or "·") for count in counts]

    result = tinytl("infer", trained, known / "red" / "1.png", known / "green" / "0.png", "--top=2")
    assert result.returncode == 0, result.stderr
    for line, row in zip(result.stdout.splitlines(), (7, 0), strict=True):
        shares = np.exp(logits[row, :2]) / np.exp(logits[row, :2]).sum()
        first, second = np.argsort(-shares)
        assert line.endswith(f": {KNOWN[first]} {shares[first]:.1%}, {KNOWN[second]} {shares[second]:.1%}")
    assert "model.safetensors, 120 steps" in result.stderr


def test_what_was_learned_can_be_left_out(trained, known, in_process):
    samples = load_image_folder(known, 8)
    right = int((OnDeviceModel(trained).predict(samples.images).argmax(axis=1) == 1 - samples.labels).sum())
    _, stdout, stderr = in_process("evaluate", trained, known, "--state=none")
    assert f"{right} of 12 images" in stdout and "as exported" in stderr
    status, _, stderr = in_process("infer", trained, known / "red" / "1.png", "--state=gone.safetensors")
    assert status == 1 and "there is no file gone.safetensors" in stderr


def test_an_image_that_cannot_be_read_does_not_stop_the_others(trained, known, in_process):
    (known / "broken.png").write_bytes(b"?")
    status, stdout, stderr = in_process("infer", trained, known / "broken.png", known / "gone.jpg", known / "red/1.png")
    assert status == 1 and len(stdout.splitlines()) == 1 and "red/1.png: " in stdout
    assert "broken.png cannot be read as an image" in stderr and "There is no image" in stderr


def test_a_class_that_the_model_does_not_know_is_named(trained, tmp_path, in_process):
    folder = write_images(tmp_path / "more", ("red", "blue"), 1)
    status, stdout, stderr = in_process("evaluate", trained, folder)
    assert (status, stdout) == (1, "") and "does not know 'blue'. It knows 'red', 'green'" in stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: folder / "none", "There is no folder"),
        (lambda folder: (folder / "red" / "9.png").write_bytes(b"?") and folder, "9.png cannot be read as an image"),
        (lambda folder: (folder / "grey").mkdir() or folder, "'grey' has no image"),
        (lambda folder: folder / "red", "at least one subfolder, one per class"),
    ],
)
def test_a_folder_that_cannot_be_evaluated_is_one_line(trained, known, in_process, spoil, message):
    status, stdout, stderr = in_process("evaluate", trained, spoil(known))
    assert (status, stdout) == (1, "") and message in stderr.splitlines()[-1]
    assert len([line for line in stderr.splitlines() if line.startswith("tinytl evaluate: ")]) == 1


def test_images_are_evaluated_a_few_at_a_time(trained, known, in_process, monkeypatch):
    whole, counts, original = in_process("evaluate", trained, known), [], OnDeviceModel.predict
    monkeypatch.setattr(evaluate, "_AT_ONCE", 5)
    monkeypatch.setattr(OnDeviceModel, "predict", lambda self, x: counts.append(len(x)) or original(self, x))
    assert in_process("evaluate", trained, known) == whole
    assert counts == [5, 5, 2]


def test_probabilities_of_logits_and_of_probabilities():
    logits = np.array([1.0, 3.0, -np.inf], np.float32)
    np.testing.assert_allclose(infer.probabilities(logits, "linear"), [1 / (1 + np.e**2), 1 / (1 + np.e**-2), 0])
    np.testing.assert_allclose(infer.probabilities(np.array([0.25, 0.75], np.float32), "softmax"), [0.25, 0.75])


LABELS, ANSWERS = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 1, 1, 1, 0, 3])
WORDS = ["cup", "plant", "keys", "mug"]


def test_the_confusion_table_leaves_out_classes_that_do_not_occur():
    counts = evaluate.confusion(LABELS, ANSWERS, 4)
    assert evaluate.confusions(counts, WORDS, 80).splitlines() == [
        "       images  right  → cup  → plant  → mug",
        "cup         3    33%      1        2      ·",
        "plant       2    50%      1        1      ·",
        "mug         1   100%      ·        ·      1",
    ]


def test_where_the_table_does_not_fit_the_most_frequent_confusions_are_listed():
    counts = evaluate.confusion(LABELS, ANSWERS, 4)
    assert evaluate.confusions(counts, WORDS, 30).splitlines() == [
        "images of  taken for  times",
        "cup        plant          2  of 3",
        "plant      cup            1  of 2",
    ]
    rng = np.random.default_rng(0)
    counts = evaluate.confusion(rng.integers(0, 200, 5000), rng.integers(0, 200, 5000), 200)
    lines = evaluate.confusions(counts, [f"class {i}" for i in range(200)], 80).splitlines()
    assert len(lines) == 13 and max(map(len, lines)) <= 80
    assert int(lines[1].split()[4]) == (counts - np.diag(np.diag(counts))).max()
    assert evaluate.confusions(np.diag([5] * 200), ["x" * 20] * 200, 80) == "Nothing is taken for anything else."
