"""The goldens on Cortex-M4, M7 and M55 in QEMU, and exact instruction counts."""

import pytest

from tests.micro import instructions, toolchain
from tflite_export.micro import boards

NAMES = ("mps2-an386", "mps2-an500", "mps3-an547")


@pytest.fixture(scope="module", autouse=True)
def _tools():
    toolchain.require("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    toolchain.require("qemu-system-arm", "qemu-system-arm")


@pytest.mark.parametrize("name", NAMES)
def test_goldens(name, golden_file, tmp_path):
    image = instructions.build_runner(boards.BOARDS[name], tmp_path)
    status, output = boards.run(boards.BOARDS[name], image, data=golden_file)
    assert status == 0 and "0 failures" in output, output[-2000:]


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Instructions of every counted layer on a Cortex-M4, twice."""
    folder = tmp_path_factory.mktemp("counts")
    return [instructions.count(boards.BOARDS["mps2-an386"], folder) for _ in range(2)]


def test_counts_repeat_to_the_instruction(counted):
    assert counted[0] == counted[1]


def test_counts_are_those_recorded(counted):
    """Within 2 %: a change that is meant is recorded by `python -m tests.micro.instructions`."""
    recorded = instructions.recorded()
    assert counted[0].keys() == recorded.keys()
    moved = {
        name: (count, recorded[name]) for name, count in counted[0].items() if abs(count / recorded[name] - 1) > 0.02
    }
    assert not moved, f"instructions (now, recorded): {moved}"


def test_input_gradients_cost_about_a_forward_pass(counted):
    """So that a training step stays within three inferences. A stem's has no use: its input is an image."""
    for name, count in counted[0].items():
        if name.endswith(" dx") and not name.startswith("stem"):
            assert count <= 1.3 * counted[0][name.removesuffix(" dx")], name


def test_a_fault_ends_the_program(tmp_path):
    """A write past the RAM of a real part stops with a status of its own; so does main's own status."""
    board = boards.BOARDS["netduinoplus2"]
    for body, expected in (
        ("*(volatile int *)(0x20000000u + 1024u * 1024u) = 1; return 0;", 125),
        ("return 7;", 7),
    ):
        source = tmp_path / "main.c"
        source.write_text(f"int main(void);\nint main(void) {{ {body} }}\n")
        boards.build(board, [source], tmp_path / "image.elf")
        assert boards.run(board, tmp_path / "image.elf")[0] == expected


@pytest.mark.parametrize("budget, kind", [("RAM_BUDGET", "volatile"), ("FLASH_BUDGET", "const")])
def test_budgets_fail_the_link(budget, kind, tmp_path):
    source = tmp_path / "main.c"
    source.write_text(
        f"{kind} char bytes[65536] = {{0}};\nint main(int, char **);\n"
        "int main(int count, char **unused) { return (void)unused, bytes[count]; }\n"
    )
    board = boards.BOARDS["mps2-an386"]
    boards.build(board, [source], tmp_path / "image.elf", symbols={budget: 80_000})
    with pytest.raises(RuntimeError, match=budget):
        boards.build(board, [source], tmp_path / "image.elf", symbols={budget: 60_000})
