"""Boards that QEMU knows: how a program is compiled and linked for one, and run there."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
from collections.abc import Iterable, Mapping

TARGETS = pathlib.Path(__file__).parent / "targets"


@dataclasses.dataclass(frozen=True)
class Board:
    """A QEMU machine. `spare_address` is where it has megabytes that no linker script uses."""

    name: str
    cpu: str
    flags: tuple[str, ...]
    counter: str
    spare_address: int | None


_CORTEX_M4 = ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16")

BOARDS = {
    board.name: board
    for board in (
        Board("mps2-an386", "cortex-m4", _CORTEX_M4, "CMSDK", 0x21000000),
        Board("mps2-an500", "cortex-m7", ("-mcpu=cortex-m7", "-mfpu=fpv5-d16"), "CMSDK", 0x60000000),
        Board("mps3-an547", "cortex-m55", ("-mcpu=cortex-m55",), "SSE", 0x60000000),
        Board("netduinoplus2", "cortex-m4", _CORTEX_M4, "STM32", None),
    )
}


def cpu_flags(board: Board) -> list[str]:
    """What every compilation for the board needs: processor and hard-float ABI."""
    return ["-mthumb", "-mfloat-abi=hard", *board.flags]


def build(
    board: Board,
    sources: Iterable[pathlib.Path],
    image: pathlib.Path,
    *,
    flags: Iterable[str] = ("-std=c11", "-O2"),
    symbols: Mapping[str, int] | None = None,
) -> None:
    """Compiles and links sources, with the board's startup code, to an ELF file.

    Args:
        sources: C files; include folders come in `flags`.
        symbols: linker symbols: RAM_BUDGET, FLASH_BUDGET, STACK_BYTES, in bytes.

    Raises:
        RuntimeError: the compiler or linker refuses, its words included: also where a budget is overrun.
    """
    command = [
        "arm-none-eabi-gcc",
        *cpu_flags(board),
        *flags,
        f"-DTARGET_COUNTER_{board.counter}",
        f"-I{TARGETS}",
        *sorted(TARGETS.glob("*.c")),
        *sources,
        "-nostartfiles",
        "-ffunction-sections",
        "-fdata-sections",
        "-Wl,--gc-sections,--fatal-warnings",
        "--specs=nano.specs",
        f"-L{TARGETS}",
        f"-T{board.name}.ld",
        *(f"-Wl,--defsym={name}={value}" for name, value in (symbols or {}).items()),
        "-lm",
        "-o",
        image,
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"building {image.name} for {board.name} failed:\n{done.stdout}{done.stderr}")


def run(
    board: Board, image: pathlib.Path, *, data: pathlib.Path | None = None, timeout: float = 120
) -> tuple[int, str]:
    """Runs an image in QEMU: (exit status of its main, console output). Instruction counts are exact and repeatable.

    Args:
        data: a file that lies at the board's `spare_address` when the program starts.
    """
    command = ["qemu-system-arm", "-M", board.name, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=7", "-kernel", str(image)]
    if data:
        command += ["-device", f"loader,file={data},addr={board.spare_address:#x},force-raw=on"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout + done.stderr
