"""The kernels compile for every board's processor, and the headers stand alone, in C and in C++, without a warning."""

import pytest

from tests.micro import toolchain
from tflite_export.micro import boards

STRICT = [*toolchain.WARNINGS, "-Wdouble-promotion", "-Wcast-qual", "-Wundef", "-pedantic"]
CPUS = {board.cpu: board for board in boards.BOARDS.values()}


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("level", ["-Os", "-O2", "-O3"])
def test_compiles(cpu, level, tmp_path):
    compiler = toolchain.require("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    for source in toolchain.sources():
        flags = [*boards.cpu_flags(CPUS[cpu]), *STRICT, level, *toolchain.includes()]
        toolchain.run([compiler, *flags, "-c", source, "-o", tmp_path / "object.o"])


@pytest.mark.parametrize("language", ["c", "c++"])
def test_headers_stand_alone(language, tmp_path):
    compiler = toolchain.require({"c": "gcc", "c++": "g++"}[language], {"c": "gcc", "c++": "g++"}[language])
    for header in sorted((toolchain.MICRO / "include").rglob("*.h")):
        source = tmp_path / ("one.c" if language == "c" else "one.cc")
        source.write_text(f'#include "{header}"\n#include "{header}"\n')
        toolchain.run([compiler, "-Wall", "-Wextra", "-Werror", *toolchain.includes(), "-fsyntax-only", source])


def test_one_public_function_a_file():
    """src/<name>.c defines tinytl_<name> and no other public function; what lies in internal/ is named so."""
    for source in sorted((toolchain.MICRO / "src").glob("*.c")):
        defined = toolchain.exported(source)
        assert defined == [f"tinytl_{source.stem}"], source
    for source in sorted((toolchain.MICRO / "src" / "internal").glob("*.c")):
        assert all(name.startswith("tinytl_internal_") for name in toolchain.exported(source)), source


def test_nothing_is_allocated_and_no_global_written(tmp_path):
    """No malloc, and no writable data or bss in any object."""
    toolchain.require("nm", "binutils")
    for source in toolchain.sources():
        table = toolchain.symbols(source)
        assert not [line for line in table if line.split()[-2] in "BbDdC" and len(line.split()) > 1], (source, table)
        assert not [line for line in table if line.endswith(("malloc", "free", "calloc", "realloc"))], (source, table)
