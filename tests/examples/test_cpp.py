"""The C++ example: its state files against Python's, and its training, linked with LiteRT, step for step.

LiteRT's headers and library come from Maven Central, about 11 MB; they stay in pytest's cache.
"""

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.examples import maven_central
from tests.examples.goldens.check import images
from tests.examples.goldens.write_goldens import NETS, RATE, probabilities
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.progress import Best, Progress
from tflite_export.runtime.state import read_state, write_state

EXAMPLE = Path(__file__).parents[2] / "examples/cpp"
GOLDENS = Path(__file__).parent / "goldens"
COMPILER = shutil.which("c++")

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory):
    program = tmp_path_factory.mktemp("round_trip") / "round_trip"
    sources = [Path(__file__).with_name("state_round_trip.cpp"), EXAMPLE / "state_file.cpp", EXAMPLE / "json.cpp"]
    subprocess.run(
        [COMPILER, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-I", EXAMPLE, *sources, "-o", program], check=True
    )
    return lambda *paths: subprocess.run([program, *paths], capture_output=True, text=True)


@needs_compiler
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("language", ["start", "kotlin"])
def test_cpp_writes_the_state_that_it_reads(round_trip, tmp_path, net, language):
    original = GOLDENS / net / f"{language}.safetensors"
    assert round_trip(original, tmp_path / "copy").returncode == 0
    expected, found = read_state(original), read_state(tmp_path / "copy")
    assert (found.fingerprint, found.step, found.class_names) == (
        expected.fingerprint,
        expected.step,
        expected.class_names,
    )
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor, strict=True)


@needs_compiler
def test_cpp_leaves_out_what_belongs_to_an_unfinished_fit(round_trip, tmp_path):
    state = read_state(GOLDENS / "train/start.safetensors")
    progress = Progress(8, 4, True, 0, epoch=1, best=Best(0, 0.5, 2))
    write_state(tmp_path / "state", dataclasses.replace(state, progress=progress, best=state.tensors))
    assert round_trip(tmp_path / "state", tmp_path / "copy").returncode == 0
    copy = read_state(tmp_path / "copy")
    assert (copy.tensors.keys(), copy.progress, copy.best) == (state.tensors.keys(), None, None)


@needs_compiler
def test_cpp_refuses_damaged_and_truncated_states(round_trip, tmp_path):
    content = (GOLDENS / "train/start.safetensors").read_bytes()
    bad = tmp_path / "bad.safetensors"
    for damaged in [content[: len(content) // 2], b"", content[:8]] + [
        content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] for at in range(0, len(content), 211)
    ]:
        bad.write_bytes(damaged)
        result = round_trip(bad, tmp_path / "copy")
        assert result.returncode == 1
        assert "truncated, damaged or no state" in result.stderr
    assert not (tmp_path / "copy").exists()


@needs_compiler
def test_cpp_leaves_nothing_behind_where_it_cannot_write(round_trip, tmp_path):
    (tmp_path / "state" / "not empty").mkdir(parents=True)
    result = round_trip(GOLDENS / "train/start.safetensors", tmp_path / "state")
    assert (result.returncode, result.stderr) == (1, f"{tmp_path}/state cannot be written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.fixture(scope="module")
def personalize(request):
    """Runs the example, built with CMake."""
    if COMPILER is None or shutil.which("cmake") is None:
        pytest.skip("needs cmake and a C++ compiler")
    build = request.config.cache.mkdir("personalize-" + os.environ.get("PYTEST_XDIST_WORKER", "main"))
    fetched = all((build / folder).is_dir() for folder in ("headers", "library"))
    if not fetched and not maven_central.reachable():
        pytest.skip(f"LiteRT's headers and library are not in pytest's cache, and {maven_central.HOST} does not answer")
    for command in (["cmake", "-S", EXAMPLE, "-B", build, "-DCMAKE_CXX_FLAGS=-Werror"], ["cmake", "--build", build]):
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert result.returncode == 0, result.stdout
    return lambda *arguments: subprocess.run(
        [build / "personalize", *arguments], capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture
def pictures(fresh_goldens, tmp_path):
    """Paths of the goldens' images as PPM."""
    paths = [tmp_path / f"{index}.ppm" for index in range(8)]
    for path, pixels in zip(paths, images(fresh_goldens / "train")):
        path.write_bytes(b"P6\n8 8\n255\n" + pixels.tobytes())
    return paths


@pytest.mark.parametrize("net", NETS)
def test_cpp_takes_the_steps_that_python_takes(personalize, fresh_goldens, pictures, tmp_path, net):
    golden = fresh_goldens / net
    state = tmp_path / "state.safetensors"
    shutil.copy(golden / "start.safetensors", state)
    model = OnDeviceModel(golden / "model.tflite", state)
    x, labels = images(golden), np.arange(7) % 4  # the last of the two batches of an epoch is short
    start = read_state(state)
    losses = [
        np.average([model.train_step(x[a:b], labels[a:b], RATE).loss for a, b in ((0, 4), (4, 7))], weights=(4, 3))
        for _ in range(2)
    ]
    named = [f"{model.class_names[label]}={path}" for label, path in zip(labels, pictures)]

    result = personalize(golden / "model.tflite", state, "--epochs=2", f"--rate={RATE}", *named, f"?={pictures[7]}")

    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose([float(x) for x in re.findall(r"loss (\S+)", result.stdout)], losses, atol=2e-6)
    answer = dict(reversed(line.split(maxsplit=1)) for line in result.stdout.splitlines()[-4:])
    assert list(answer) == model.class_names
    np.testing.assert_allclose([float(p) for p in answer.values()], probabilities(model, x[7:])[0], atol=2e-6)
    model.save(tmp_path / "expected.safetensors")
    found, expected = read_state(state), read_state(tmp_path / "expected.safetensors")
    assert (found.step, found.class_names) == (expected.step, expected.class_names)
    for name, tensor in expected.tensors.items():
        update = np.linalg.norm(tensor - start.tensors[name])
        assert np.linalg.norm(found.tensors[name] - tensor) / update < 1e-4, name


def test_a_new_class_takes_the_next_spare_output(personalize, fresh_goldens, pictures, tmp_path):
    state = tmp_path / "state.safetensors"
    arguments = (fresh_goldens / "train/model.tflite", state, "--epochs=1")
    result = personalize(*arguments, f"mug={pictures[0]}")
    assert (result.returncode, result.stdout.splitlines()[0]) == (0, "new class mug")
    assert OnDeviceModel(fresh_goldens / "train/model.tflite", state).class_names[3] == "mug"
    before = state.read_bytes()
    result = personalize(*arguments, f"fork={pictures[0]}")
    assert (result.returncode, result.stderr) == (1, "personalize: there is no spare output for the class fork\n")
    assert state.read_bytes() == before


def test_a_question_alone_writes_nothing(personalize, fresh_goldens, pictures, tmp_path):
    """Not even where an unfinished fit of Python stands, which a state that C++ writes leaves out."""
    golden, state = fresh_goldens / "train", tmp_path / "state.safetensors"
    model = golden / "model.tflite"
    result = personalize(model, state, f"?={pictures[0]}")
    assert result.returncode == 0 and not state.exists()
    start = read_state(golden / "start.safetensors")
    progress = Progress(8, 4, True, 0, epoch=1, best=Best(0, 0.5, 2))
    write_state(state, dataclasses.replace(start, progress=progress, best=start.tensors))
    before = state.read_bytes()
    assert personalize(model, state, f"?={pictures[0]}").returncode == 0
    assert state.read_bytes() == before
    assert personalize(model, state, f"cup={pictures[0]}", "--epochs=1").returncode == 0
    assert (read_state(state).step, read_state(state).best) == (start.step + 1, None)


def test_a_step_that_is_not_finite_is_reported_and_not_counted(personalize, fresh_goldens, pictures, tmp_path):
    state = tmp_path / "state.safetensors"
    arguments = (fresh_goldens / "train/model.tflite", state, f"cup={pictures[0]}", f"plant={pictures[1]}")
    assert personalize(*arguments, "--epochs=1").returncode == 0
    whole = read_state(state)
    poison = {name: np.full_like(value, np.nan) for name, value in whole.tensors.items()}
    write_state(state, dataclasses.replace(whole, tensors=poison))
    result = personalize(*arguments, "--epochs=2")
    assert result.stdout.count("steps were skipped, not finite: lower the rate") == 2
    assert read_state(state).step == whole.step


def test_a_mistake_is_named_and_changes_nothing(personalize, fresh_goldens, pictures, tmp_path):
    model = fresh_goldens / "train/model.tflite"
    small = tmp_path / "small.ppm"
    small.write_bytes(b"P6\n4 4\n255\n" + bytes(48))
    other = fresh_goldens / "accumulate/start.safetensors"
    content = other.read_bytes()
    for arguments, message in [
        ((model, other, f"cup={pictures[0]}"), "belongs to another export|another model's"),
        ((model, tmp_path / "new", f"cup={small}"), "expected 8 x 8 pixels"),
        ((model, tmp_path / "new", "cup"), "expected name=image.ppm, got cup"),
        ((tmp_path / "no.tflite", tmp_path / "new", "cup=x"), "missing or no .tflite file"),
    ]:
        result = personalize(*arguments)
        assert result.returncode == 1
        assert re.search(message, result.stderr), result.stderr
    assert not (tmp_path / "new").exists()
    assert other.read_bytes() == content
