"""Generated programs under sanitizers, for Cortex-M, and in QEMU."""

from __future__ import annotations

import pathlib
import re
import subprocess

import numpy as np
import pytest

from tests.micro import networks, toolchain
from tflite_export import micro
from tflite_export.micro import boards
from tflite_export.micro.program import STACK_BYTES

MAIN = pathlib.Path(__file__).parent / "generated_main.c"
PROGRAMS = [("bias", "float32"), ("lite_residual+bias", "float32"), ("full", "float32")]
PROGRAMS += [("bias", "int8"), ("lite_residual+bias", "int8")]


@pytest.fixture(scope="module", params=PROGRAMS, ids=" ".join)
def program(request, tmp_path_factory):
    """The folder of a program, and the lines that its main writes here, without sanitizers."""
    toolchain.host_compiler()
    folder = tmp_path_factory.mktemp("program")
    method, activations = request.param
    model = networks.prepared(networks.inverted_residuals(20, 18), method)
    options = {"calibration": networks.pictures(model, 8)} if activations == "int8" else {}
    micro.generate(model, folder, name="net", optimizer="adam", verify=False, activations=activations, **options)
    return folder, lines(built(folder, ["-O2"]))


def built(folder, flags) -> pathlib.Path:
    image = folder / "program"
    command = [toolchain.host_compiler(), *toolchain.WARNINGS, *flags, *toolchain.includes(), f"-I{folder}"]
    toolchain.run([*command, MAIN, folder / "net.c", *toolchain.sources(), "-lm", "-o", image])
    return image


def lines(image) -> np.ndarray:
    done = subprocess.run([image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return np.array(done.stdout.split(), float)


def test_sanitizers_find_nothing(program):
    folder, expected = program
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    np.testing.assert_allclose(lines(built(folder, flags)), expected, rtol=1e-3, atol=50)


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m7", "cortex-m55"])
def test_cross_compilers_warn_of_nothing(program, cpu, tmp_path):
    folder, _ = program
    compiler = toolchain.require("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    (board,) = [b for b in boards.BOARDS.values() if b.cpu == cpu][:1]
    command = [compiler, *boards.cpu_flags(board), *toolchain.WARNINGS, "-O2", *toolchain.includes(), f"-I{folder}"]
    toolchain.run([*command, "-c", folder / "net.c", "-o", tmp_path / "net.o"])


def test_a_board_takes_the_same_steps(program, tmp_path):
    """Within the RAM that the program says it takes, and the buffer that its main saves to: the linker asserts it."""
    folder, expected = program
    toolchain.require("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    toolchain.require("qemu-system-arm", "qemu-system-arm")
    sizes = {
        name: int(size) for name, size in re.findall(r"#define NET_(\w+_BYTES) (\d+)", (folder / "net.h").read_text())
    }
    ram = sizes["ARENA_BYTES"] + sizes["RAM_STATE_BYTES"] + sizes["STATE_BYTES"] + STACK_BYTES
    board, image = boards.BOARDS["mps2-an386"], tmp_path / "net.elf"
    flags = ["-std=c11", "-O2", "-DON_TARGET", *toolchain.includes(), f"-I{folder}"]
    files = [MAIN, folder / "net.c", *toolchain.sources()]
    boards.build(board, files, image, flags=flags, symbols={"RAM_BUDGET": ram, "STACK_BYTES": 3584})
    status, output = boards.run(board, image)
    assert status == 0, output
    np.testing.assert_allclose(np.array(output.split(), float), expected, rtol=1e-3, atol=50)
