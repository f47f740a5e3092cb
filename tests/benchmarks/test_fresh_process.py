"""The growth of a process, on a file whose arena is known."""

from fresh_process import growth, last_error

from tflite_export import flatbuffer
from tflite_export.builder import Builder
from tflite_export.graph import Graph, Program, Tensor


def test_growth_is_at_least_the_arena(tmp_path):
    size = 4_000_000  # floats
    b, x = Builder(), Tensor("x", (1, size))
    graph = Graph("run", {"x": x}, {"y": b.unary("TANH", b.unary("EXP", x))}, tuple(b.ops))
    path = tmp_path / "model.tflite"
    path.write_bytes(flatbuffer.write(Program((graph,))))
    megabytes = growth(path, "builtin", {"run": 1}) / 1e6
    assert 3 * 16 <= megabytes < 3 * 16 + 16 + 24  # x, exp and tanh; a copy of the output; the interpreter


def test_the_last_error_of_a_traceback_keeps_all_lines_of_its_message():
    text = (
        'a warning\nTraceback (most recent call last):\n  File "x.py", line 1, in f\n    f()\n'
        "ValueError: Didn't find op 'ADD' version '9'.\nRegistration failed.\n"
    )
    assert last_error(text) == "ValueError: Didn't find op 'ADD' version '9'. Registration failed."
    assert last_error("") == ""
