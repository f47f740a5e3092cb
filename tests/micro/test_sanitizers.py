"""The same goldens in a C program under the address and undefined-behaviour sanitizers.

Every buffer is exactly as large as its header says, so one byte too far ends the program.
"""

from tests.micro import toolchain

HERE = toolchain.ROOT / "tests" / "micro"


def test_address_and_undefined(golden_file, tmp_path):
    program = tmp_path / "runner"
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    sources = [*toolchain.sources(), HERE / "runner.c", HERE / "runner_host.c"]
    flags = [*toolchain.WARNINGS, *toolchain.includes(), f"-I{HERE}"]
    toolchain.run([toolchain.host_compiler(), *flags, *sanitizers, *sources, "-lm", "-o", program])
    assert "0 failures" in toolchain.run([program, golden_file]).stdout
