"""Exact instruction counts of layers on a Cortex-M4; ``python -m tests.micro.instructions`` records them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import struct
import tempfile

from tests.micro import convolution_cases, goldens, quantized_cases, toolchain
from tests.micro.windows import Window
from tflite_export.micro import boards

HERE = pathlib.Path(__file__).parent
RECORD = HERE / "instructions.json"

# name -> (function prefix, window, output channels, groups, activation); shapes of MobileNets at 96 to 128 pixels.
LAYERS = {
    "stem 3x3 s2": ("conv", Window((1, 32, 32, 3), (3, 3), (2, 2)), 16, 1, 2),
    "expand 24x24 8->48": ("pointwise", Window((1, 1, 576, 8), (1, 1)), 48, 1, 2),
    "project 24x24 48->16": ("pointwise", Window((1, 1, 576, 48), (1, 1)), 16, 1, 0),
    "expand 6x6 96->192": ("pointwise", Window((1, 1, 36, 96), (1, 1)), 192, 1, 2),
    "project 3x3 192->56": ("pointwise", Window((1, 1, 9, 192), (1, 1)), 56, 1, 0),
    "depthwise 3x3 24x24x48": ("depthwise", Window((1, 24, 24, 48), (3, 3)), 48, 1, 2),
    "depthwise 5x5 12x12x96": ("depthwise", Window((1, 12, 12, 96), (5, 5)), 96, 1, 2),
    "depthwise 7x7 4x4x192": ("depthwise", Window((1, 4, 4, 192), (7, 7)), 192, 1, 2),
    "group conv 5x5 12x12x24": ("conv", Window((1, 12, 12, 24), (5, 5)), 24, 2, 0),
    "group conv 5x5 4x4x56": ("conv", Window((1, 4, 4, 56), (5, 5)), 56, 2, 0),
}


def _calls(name: str, prefix: str, window: Window, channels: int, groups: int, activation: int) -> list[goldens.Call]:
    """A layer's forward pass without a mask, the same with one, its input gradient, and the int8 forward pass."""
    if prefix == "depthwise":
        shape, axis, forward = (*window.kernel, channels), 2, convolution_cases.depthwise_convolution(window)
        params, space = window.struct(channels), convolution_cases.depthwise_space(window)
    else:
        shape, axis = (channels, *window.kernel, window.input[3] // groups), 0
        forward = convolution_cases.convolution(window, groups)
        params = window.struct(channels) + struct.pack("<i", groups)
        space = convolution_cases.conv_space(window, max(window.input[3], channels) // groups)
    if prefix == "pointwise":
        params = struct.pack("<3i", window.input[2], window.input[3], channels)

    layer = convolution_cases.Layer(1, window, channels, activation, shape, axis, forward)
    params += struct.pack("<i", activation)
    masked, plain, dx, _ = convolution_cases.layer_calls(name, prefix, layer, params, space, float_kernel=False)
    _, int8, *_ = quantized_cases.layer_calls(name, prefix, window, channels, shape, forward, params, space, 1)
    return [
        dataclasses.replace(plain, name=name),
        dataclasses.replace(masked, name=f"{name} mask"),
        dataclasses.replace(dx, name=f"{name} dx"),
        dataclasses.replace(int8, name=f"{name} int8"),
    ]


def build_runner(board: boards.Board, folder: pathlib.Path, *flags: str) -> pathlib.Path:
    """The golden runner for a board."""
    image = folder / f"{board.name}.elf"
    sources = [*toolchain.sources(), HERE / "runner.c", HERE / "runner_target.c"]
    options = [*toolchain.WARNINGS, "-O2", *toolchain.includes(), f"-I{HERE}", "-u_printf_float"]
    boards.build(board, sources, image, flags=[*options, f"-DRUNNER_GOLDENS={board.spare_address:#x}", *flags])
    return image


def count(board: boards.Board, folder: pathlib.Path) -> dict[str, int]:
    """Instructions of every layer's forward pass ("name"), with mask ("name mask"), input gradient ("name dx") and
    int8 forward pass ("name int8")."""
    calls = [call for name, layer in LAYERS.items() for call in _calls(name, *layer)]
    goldens.write(calls, folder / "layers.golden")
    image = build_runner(board, folder, "-DRUNNER_COUNTS", f"-DRUNNER_BYTES={2 << 20}")
    status, output = boards.run(board, image, data=folder / "layers.golden")
    if status:
        raise RuntimeError(f"the runner failed on {board.name}: {output[-2000:]}")
    lines = [line.split() for line in output.splitlines() if line.startswith("count ")]
    return {calls[int(number)].name: int(instructions) for _, number, instructions in lines}


def recorded() -> dict[str, int]:
    return json.loads(RECORD.read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        counts = count(boards.BOARDS["mps2-an386"], pathlib.Path(temporary))
    RECORD.write_text(json.dumps(counts, indent=1) + "\n")
