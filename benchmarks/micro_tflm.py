"""A file for TensorFlow Lite Micro on a Cortex-M4 in QEMU: RAM, flash and instructions; `micro.py` prints them.

TFLM's wheel has no instructions to count, so this needs its source tree and says so where it is missing. Environment:

TFLM_DIR             a tree of tflite-micro
TFLM_INCLUDES        what the tree is compiled with besides, separated by colons: the include folders of flatbuffers,
                     gemmlowp and ruy; not needed where the tree's Makefile has downloaded them
TFLM_TARGET_LIBRARY  libtensorflow-microlite.a of that tree for Cortex-M4 with hard floats, for example as
                     `make -f tensorflow/lite/micro/tools/make/Makefile TARGET=cortex_m_generic
                     TARGET_ARCH=cortex-m4+fp BUILD_TYPE=release_with_logs microlite` makes it

The C++ headers are those that arm-none-eabi-g++ finds (Debian: libstdc++-arm-none-eabi-newlib; CPLUS_INCLUDE_PATH names
others). RAM is the whole image's, of an arena as large as TFLM says it used, and the stack.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from pathlib import Path

from tflite_export import flatbuffer
from tflite_export.graph import Program
from tflite_export.micro import boards, host

MAIN = Path(__file__).parent / "micro_tflm_main.cc"
BOARD = boards.BOARDS["mps2-an386"]
ADAPTER = host.HOME / "tflm"
NEEDS = ("TFLM_DIR", "TFLM_TARGET_LIBRARY")
_LARGEST_ARENA = 3 << 20  # bytes, of the board's 4 MB
_STACK = 8192
_SEARCH = 64  # bytes: steps in which an arena of just enough is looked for
_WORDS = {"BATCH_MATMUL": "BatchMatMul", "CUMSUM": "CumSum", "PADV2": "PadV2"}
_FLAGS = ["-O2", "-DNDEBUG", "-DTF_LITE_STATIC_MEMORY", "-ffunction-sections", "-fdata-sections"]
_CXX = ["-std=c++17", "-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics", "-fno-use-cxa-atexit", "-w"]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Bytes of RAM (the whole image's), of the arena and of flash, instructions of an inference and of a step, and the
    step's loss."""

    ram: int
    arena: int
    flash: int
    inference: int
    step: int
    loss: float


def missing() -> str | None:
    """Why nothing can be measured here; None where it can."""
    absent = [name for name in NEEDS if not os.environ.get(name)]
    return f"set {' and '.join(absent)} (benchmarks/micro_tflm.py)" if absent else None


def measure(path: Path) -> Measured:
    """Runs the file that `export(…, runtime="micro")` wrote to `path`.

    Raises:
        RuntimeError: it does not compile, link or run; the message is the compiler's or the board's.
    """
    program = flatbuffer.read(path)
    with tempfile.TemporaryDirectory() as folder:
        image = _Image(Path(folder), path, program)
        status, console = image.run(_LARGEST_ARENA)
        if status:
            raise RuntimeError(f"the board stopped with status {status}: {console}")
        arena = int(console.split()[0])
        for size in range(-(-arena // _SEARCH) * _SEARCH, _LARGEST_ARENA, _SEARCH):
            status, again = image.run(size)  # AllocateTensors needs a little more than it keeps
            if not status:
                break
        assert again.split()[1:] == console.split()[1:], (console, again)
        symbols = image.symbols()
        _, inference, step, loss = map(int, again.split())
        return Measured(symbols["target_ram_bytes"], arena, symbols["target_flash_bytes"], inference, step, loss / 1e6)


class _Image:
    """The program of one file, for arenas of any size."""

    def __init__(self, folder: Path, path: Path, program: Program):
        self.folder, self.image = folder, folder / "measured.elf"
        self.defines = [f"-DVARIABLES={len(program.variables)}", f'-DMODEL_FILE="{path.resolve()}"']
        kinds, custom = _operators(program)
        (folder / "operators.h").write_text(_operators_header(kinds, custom))
        sources = sorted(ADAPTER.glob("*.cc")) if custom else []
        self.adapter = [self._compile(source) for source in sources]
        self.kernels = host.kernel_sources() if custom else []

    def _compile(self, source: Path, *defines: str) -> Path:
        compiled = self.folder / f"{source.stem}.o"
        paths = [f"-I{self.folder}", f"-I{boards.TARGETS}", f"-I{ADAPTER}", *_kernel_includes(), *_tree_includes()]
        flags = [*boards.cpu_flags(BOARD), *_CXX, *_FLAGS, *defines]
        _run(["arm-none-eabi-g++", *flags, *paths, "-c", source, "-o", compiled])
        return compiled

    def run(self, arena_bytes: int) -> tuple[int, str]:
        main = self._compile(MAIN, *self.defines, f"-DARENA_BYTES={arena_bytes}")
        library = Path(os.environ["TFLM_TARGET_LIBRARY"])
        flags = ["-std=c11", *_FLAGS, *_kernel_includes()]
        files = [main, *self.adapter, *self.kernels, library]
        boards.build(BOARD, files, self.image, flags=flags, symbols={"STACK_BYTES": _STACK})
        return boards.run(BOARD, self.image, timeout=3600)

    def symbols(self) -> dict[str, int]:
        lines = _run(["arm-none-eabi-nm", self.image]).splitlines()
        return {name: int(value, 16) for value, _, name in (line.split() for line in lines if len(line.split()) == 3)}


def _operators(program: Program) -> tuple[list[str], bool]:
    """The builtin operators that the file needs, those of its variables included, and whether it has ours."""
    graphs = [graph for entry in program.signatures for graph in (entry, *entry.branches)]
    kinds = {op.kind for graph in graphs for op in graph.ops} | {"CALL_ONCE", "VAR_HANDLE", "ASSIGN_VARIABLE", "FILL"}
    custom = {kind for kind in kinds if kind.startswith("TINYTL_")}
    return sorted(kinds - custom), bool(custom)


def _operators_header(kinds: list[str], custom: bool) -> str:
    adds = [f"  resolver.Add{_method(kind)}();" for kind in kinds]
    adds += ["  tinytl::tflm::RegisterTinyTL(resolver);"] if custom else []
    count = f"{len(kinds)}" + (" + tinytl::tflm::kOpCount" if custom else "")
    include = '#include "tinytl_ops.h"\n' if custom else ""
    return (
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n#include "tflm_namespace.h"\n'
        f"{include}namespace measured {{\nusing namespace tinytl::tflm;\nusing Resolver = "
        f"MicroMutableOpResolver<{count}>;\ninline void AddOperators(Resolver& resolver) {{\n"
        + "\n".join(adds)
        + "\n}\n}  // namespace measured\n"
    )


def _method(kind: str) -> str:
    """MicroMutableOpResolver's name of an operator: CONV_2D is AddConv2D."""
    words = (word if word[0].isdigit() else word.capitalize() for word in kind.split("_"))
    return _WORDS.get(kind) or "".join(words)


def _kernel_includes() -> list[str]:
    return [f"-I{host.HOME / 'include'}", f"-I{host.HOME / 'src'}"]


def _tree_includes() -> list[str]:
    tree = Path(os.environ["TFLM_DIR"])
    downloads = tree / "tensorflow" / "lite" / "micro" / "tools" / "make" / "downloads"
    more = [path for path in os.environ.get("TFLM_INCLUDES", "").split(":") if path]
    folders = [*more, tree, *(downloads / part for part in ("flatbuffers/include", "gemmlowp", "ruy"))]
    return [f"-I{folder}" for folder in folders]


def _run(command: list) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr[-4000:]}")
    return done.stdout
