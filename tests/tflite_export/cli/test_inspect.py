"""`tinytl inspect`, held against LiteRT's own account of the file."""

from collections import Counter

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.tflite_export.cli.conftest import NAMES, tinytl
from tests.tflite_export.runtime import stand_in


def test_a_file_that_trains(model):
    result = tinytl("inspect", model)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"{model}: {model.stat().st_size:,} bytes"
    interpreter = Interpreter(model_path=str(model))
    for name, sides in interpreter.get_signature_list().items():
        (start,) = [i for i, line in enumerate(lines) if line.split() and line.split()[0] == name]
        assert lines[start].split()[-1].replace(",", "").isdigit()  # the arena
        assert sides["inputs"][0] in "".join(lines[start : start + 4])
    assert "  in   x float32[4, 8, 8, 3]" in result.stdout and "out  output float32[1, 4]" in result.stdout
    assert f"classes      {', '.join(NAMES)}; 2 spare" in result.stdout
    assert "optimizer    adam" in result.stdout and "pixel * 0.00784314 + -1" in result.stdout
    assert "head/kernel  float32[6, 4]" in result.stdout
    kinds = Counter(op["op_name"] for op in Interpreter(
        model_path=str(model), experimental_op_resolver_type=_no_delegate()
    )._get_ops_details())  # fmt: skip
    rows = {line.split()[0]: line.split()[1:] for line in lines if line and line[0].isupper()}
    for kind, count in kinds.items():  # of the file's first subgraph, infer
        assert rows[kind][0] == str(count), kind


def _no_delegate():
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def test_the_stock_converters_file_and_one_of_operators_that_we_do_not_know(tmp_path, in_process):
    import tensorflow as tf

    class Counting(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
        def run(self, x):
            _, y = tf.while_loop(
                lambda i, y: i < 3, lambda i, y: (i + 1, tf.reduce_sum(abs(tf.signal.rfft(y))) + y), [0, x]
            )
            return {"y": y}

    module = Counting()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.run.get_concrete_function()], module)
    (tmp_path / "loop.tflite").write_bytes(converter.convert())
    status, stdout, stderr = in_process("inspect", tmp_path / "loop.tflite")
    assert status == 0, stderr
    assert "WHILE" in stdout and "RFFT2D" in stdout and "(" in stdout
    assert "Nothing in it trains. `tinytl make-trainable" in stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .tflite file"),
        (b"PK\x03\x04 a zip file", "not a .tflite file"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(range(60)), "truncated or damaged"),
    ],
)
def test_what_is_no_model_is_one_line(tmp_path, in_process, content, message):
    (tmp_path / "x.tflite").write_bytes(content)
    status, stdout, stderr = in_process("inspect", tmp_path / "x.tflite")
    assert (status, stdout) == (1, "") and message in stderr and len(stderr.splitlines()) == 1


def test_every_truncation_is_refused_or_listed_but_never_a_traceback(tmp_path, in_process):
    path = stand_in.write_file(tmp_path / "whole.tflite")
    content = path.read_bytes()
    for keep in np.linspace(8, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:keep])
        status, _, stderr = in_process("inspect", path)
        assert status == 1 and len(stderr.splitlines()) == 1
