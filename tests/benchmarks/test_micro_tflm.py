"""What `micro_tflm` makes of a file before anything is compiled."""

import micro_tflm
import pytest

from tflite_export.graph import Graph, Op, Program


def graph(kinds, **branches) -> Graph:
    """Operators of these kinds; an IF runs `branches`."""
    return Graph("step", {}, {}, tuple(Op(kind, (), (), branches if kind == "IF" else {}) for kind in kinds))


@pytest.mark.parametrize(
    "kind, method",
    [
        ("ADD", "Add"),
        ("CONV_2D", "Conv2D"),
        ("DEPTHWISE_CONV_2D", "DepthwiseConv2D"),
        ("RELU6", "Relu6"),
        ("SELECT_V2", "SelectV2"),
        ("BATCH_MATMUL", "BatchMatMul"),
    ],
)
def test_methods_of_the_resolver(kind, method):
    assert micro_tflm._method(kind) == method


def test_operators_are_those_of_branches_and_of_variables_too():
    step = graph(["IF", "ADD", "ADD"], then_graph=graph(["SOFTMAX"]), else_graph=graph(["ADD", "EXP"]))
    kinds, custom = micro_tflm._operators(Program((step,)))
    assert kinds == ["ADD", "ASSIGN_VARIABLE", "CALL_ONCE", "EXP", "FILL", "IF", "SOFTMAX", "VAR_HANDLE"]
    assert not custom


def test_custom_operators_are_registered_together():
    kinds, custom = micro_tflm._operators(Program((graph(["ADD", "TINYTL_CONV_2D", "TINYTL_UPDATE"]),)))
    assert custom and not any(kind.startswith("TINYTL") for kind in kinds)
    header = micro_tflm._operators_header(["ADD", "CONV_2D"], custom)
    assert "MicroMutableOpResolver<2 + tinytl::tflm::kOpCount>" in header
    assert header.count("resolver.Add") == 2 and "resolver.AddConv2D();" in header
    assert "RegisterTinyTL(resolver);" in header and '#include "tinytl_ops.h"' in header


def test_a_file_of_builtins_needs_no_adapter():
    header = micro_tflm._operators_header(["ADD"], custom=False)
    assert "MicroMutableOpResolver<1>" in header
    assert "kOpCount" not in header and "tinytl_ops.h" not in header


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("TFLM_DIR", "/tree")
    monkeypatch.delenv("TFLM_TARGET_LIBRARY", raising=False)
    assert "TFLM_TARGET_LIBRARY" in micro_tflm.missing() and "TFLM_DIR" not in micro_tflm.missing()
    monkeypatch.setenv("TFLM_TARGET_LIBRARY", "/library.a")
    assert micro_tflm.missing() is None


def test_include_folders(monkeypatch):
    monkeypatch.setenv("TFLM_DIR", "/tree")
    monkeypatch.setenv("TFLM_INCLUDES", "/a::/b")
    folders = micro_tflm._tree_includes()
    assert folders[:3] == ["-I/a", "-I/b", "-I/tree"]
    assert all(folder.startswith("-I/tree/tensorflow") for folder in folders[3:])


def test_a_failing_command_says_what_it_was():
    with pytest.raises(RuntimeError, match="ls /nowhere"):
        micro_tflm._run(["ls", "/nowhere"])
