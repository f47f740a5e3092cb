"""The int8 layers through CMSIS-NN: the same goldens, bit for bit, on DSP and Helium. CMSIS_NN_DIR names a checkout."""

import dataclasses
import os
import pathlib

import pytest

from tests.micro import goldens, instructions, quantized_cases, toolchain
from tflite_export.micro import boards


@pytest.fixture(scope="module")
def cmsis_nn():
    folder = os.environ.get("CMSIS_NN_DIR")
    if not folder:
        pytest.skip("CMSIS_NN_DIR does not name a checkout of github.com/ARM-software/CMSIS-NN")
    toolchain.require("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    toolchain.require("qemu-system-arm", "qemu-system-arm")
    return pathlib.Path(folder)


def _roomier(call: goldens.Call) -> goldens.Call:
    """The call with 32 KB of workspace: CMSIS-NN wants more than the portable code."""
    *arguments, _, _ = call.arguments
    return dataclasses.replace(call, arguments=(*arguments, goldens.Space(32768), 32768))


def _objects(folder: pathlib.Path, board: boards.Board, cmsis_nn: pathlib.Path) -> list[pathlib.Path]:
    """CMSIS-NN's int8 convolutions. Its own warnings are its own affair, so it is compiled apart."""
    rooms = ("Convolution", "FullyConnected", "NNSupport", "Transpose")
    folders = [cmsis_nn / "Source" / f"{room}Functions" for room in rooms]
    sources = [file for room in folders for pattern in ("*s8*.c", "arm_q7*.c") for file in room.glob(pattern)]
    objects = []
    for source in sources:
        objects.append(folder / f"{source.stem}.o")
        flags = [*boards.cpu_flags(board), "-O2", "-ffunction-sections", "-w", f"-I{cmsis_nn / 'Include'}"]
        toolchain.run(["arm-none-eabi-gcc", *flags, "-c", source, "-o", objects[-1]])
    return objects


@pytest.mark.parametrize("name", ["mps2-an386", "mps2-an500", "mps3-an547"])
def test_goldens(name, cmsis_nn, tmp_path):
    board = boards.BOARDS[name]
    objects = _objects(tmp_path, board, cmsis_nn)
    switch = ["-DTINYTL_USE_CMSIS_NN", "-isystem", str(cmsis_nn / "Include"), "-DRUNNER_COUNTS"]
    image = instructions.build_runner(board, tmp_path, *switch, *map(str, objects))
    goldens.write([_roomier(call) for call in quantized_cases.layers()], tmp_path / "calls.golden")
    status, output = boards.run(board, image, data=tmp_path / "calls.golden")
    assert status == 0 and "0 failures" in output, output[-2000:]
    names = toolchain.run(["arm-none-eabi-nm", image]).stdout
    assert "arm_convolve_wrapper_s8" in names and "arm_depthwise_conv_wrapper_s8" in names
