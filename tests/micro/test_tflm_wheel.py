"""Every op of the TFLM adapter over the kernels' goldens: in TFLM's Python wheel, and in the numpy evaluator."""

import dataclasses

import numpy as np
import pytest

from tests.micro import tflm, tflm_model
from tflite_export.evaluate import evaluate
from tflite_export.flatbuffer import read
from tflite_export.micro import host, tflm_wheel

FAMILIES = ("convolution", "pointwise", "depthwise", "bias", "update")


@pytest.fixture(scope="module")
def nodes(calls):
    return [node for family in FAMILIES for call in calls[family] if (node := tflm.node(call))]


def inputs_of(node):
    return [np.ascontiguousarray(array) for array in node.inputs if array is not None]


def compare(node, arrays):
    for out, got in zip([out for out in node.outputs if out is not None], arrays, strict=True):
        worst = float(out.difference(np.ravel(got)).max())
        assert worst <= out.allowed(), f"{node.name}: {node.op} is {worst} off, allowed {out.allowed()}"


@pytest.fixture(scope="module")
def registerer():
    if host.compiler() is None:
        pytest.skip("no C compiler is installed")
    pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    return tflm_wheel.load_operators()


def test_the_wheel_runs_every_op(nodes, registerer):
    from tflite_micro import runtime

    for node in nodes:
        model = tflm_model.model(node)
        interpreter = runtime.Interpreter.from_bytes(model, custom_op_registerers=[registerer], arena_size=1 << 20)
        for i, array in enumerate(inputs_of(node)):
            interpreter.set_input(array, i)
        interpreter.invoke()
        compare(node, [interpreter.get_output(i) for i, out in enumerate(o for o in node.outputs if o is not None)])
    assert len({node.op for node in nodes}) == 9


def test_the_evaluator_means_the_same(nodes):
    for node in nodes:
        (graph,) = read(tflm_model.model(node)).signatures
        outputs = evaluate(graph, dict(zip(graph.inputs, inputs_of(node), strict=True)))
        compare(node, outputs.values())


def test_a_library_that_does_not_run_is_named(tmp_path):
    library = tmp_path / "libbroken.so"
    library.write_bytes(b"no library")
    with pytest.raises(RuntimeError, match="does not run our custom operators: it is not laid out as"):
        tflm_wheel._try(library)


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(host, "compiler", lambda: None)
    with pytest.raises(RuntimeError, match="install g\\+\\+, or pass verify=False"):
        tflm_wheel.load_operators.__wrapped__()


def test_a_node_that_is_wrong_is_refused(nodes, registerer, capfd):
    from tflite_micro import runtime

    node = next(node for node in nodes if node.op == "TINYTL_CONV_2D")
    broken = tflm_model.model(dataclasses.replace(node, options=node.options[:-1]))
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(broken, custom_op_registerers=[registerer], arena_size=1 << 20)
    assert "TINYTL_CONV_2D" in capfd.readouterr().err
