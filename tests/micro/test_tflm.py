"""The TFLM adapter: every op against the kernels' goldens, what it refuses, and a real tree where there is one."""

import dataclasses
import os
import pathlib
import struct

import numpy as np
import pytest

from tests.micro import tflm, tflm_model, toolchain
from tests.micro.goldens import Out

FAMILIES = ("convolution", "pointwise", "depthwise", "bias", "update")
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
REAL = ["-O2", "-DTF_LITE_STATIC_MEMORY"]


@pytest.fixture(scope="module", params=["2025", "2026"])
def program(request, tmp_path_factory):
    """The runner and the adapter under the sanitizers, with TFLM's names where they lay until 2026, and where now."""
    folder = tmp_path_factory.mktemp(f"tflm{request.param}")
    flags = [*SANITIZERS, *(["-DTINYTL_STAND_IN_2026"] if request.param == "2026" else [])]
    includes = [f"-I{tflm.STAND_IN}"]
    objects = tflm.compile_objects(folder, includes, flags)
    path = folder / "runner"
    paths = [*includes, *toolchain.includes(), f"-I{tflm.ADAPTER}"]
    main = [*tflm.CXX_WARNINGS, *flags, *paths, tflm.RUNNER]
    toolchain.run([toolchain.require("g++", "g++"), *main, *objects, "-o", path])
    return path


@pytest.fixture(scope="module")
def nodes(calls):
    return [node for family in FAMILIES for call in calls[family] if (node := tflm.node(call))]


def _compare(node, arrays):
    assert isinstance(arrays, list), f"{node.name}: {node.op} failed with status {arrays}"
    for out, got in zip([out for out in node.outputs if out is not None], arrays, strict=True):
        worst = float(np.nanmax(np.where(np.isnan(got), np.inf, out.difference(got))))
        assert worst <= out.allowed(), f"{node.name}: {node.op} is {worst} off, allowed {out.allowed()}"


def test_every_op_against_the_goldens(program, nodes, tmp_path):
    found, lines = tflm.run(program, nodes, tmp_path)
    for node, arrays, line in zip(nodes, found, lines, strict=True):
        assert not line, f"{node.name}: {line}"
        _compare(node, arrays)
    header = (tflm.ADAPTER / "tinytl_ops.h").read_text()
    assert all(f'"{node.op}"' in header for node in nodes)
    assert len({node.op for node in nodes}) == header.count('{"TINYTL_')


def _replaced(values, index, value):
    return (*values[:index], value, *values[index + 1 :])


def _with_word(options, index, value):
    return options[: 4 * index] + struct.pack("<i", value) + options[4 * index + 4 :]


def _refused(nodes):
    """(node, what its line must say): each a sound node with one thing wrong."""
    first = {}
    for node in nodes:
        if all(value is not None for value in node.inputs[:2]):
            first.setdefault(node.op, node)
    conv, dx = first["TINYTL_CONV_2D"], first["TINYTL_CONV_2D_INPUT_GRADIENT"]
    depthwise, bias = first["TINYTL_DEPTHWISE_CONV_2D"], first["TINYTL_BIAS_UPDATE"]
    adam = next(n for n in nodes if n.op == "TINYTL_UPDATE" and "adam" in n.name)
    kernel_update, change = first["TINYTL_CONV_2D_KERNEL_UPDATE"], dataclasses.replace
    short = Out(conv.outputs[0].expected[:, :-1])
    yield change(conv, options=conv.options[:-1]), "bytes of custom options: got 27, expected 28"
    yield change(conv, options=b""), "bytes of custom options: got 0"
    yield change(conv, options=_with_word(conv.options, 0, 2)), "version of the custom options: got 2, expected 1"
    yield change(conv, options=_with_word(conv.options, 6, 3)), "activation is none of"
    yield change(conv, options=_with_word(conv.options, 5, 0)), "groups do not divide"
    yield change(conv, options=_with_word(conv.options, 3, 9)), "do not fit together"
    yield change(conv, inputs=conv.inputs[:1]), "1 inputs, expected 2 to 4"
    yield change(conv, inputs=_replaced(conv.inputs, 0, conv.inputs[0].astype(np.int32))), "is int32 (type 2)"
    yield change(conv, inputs=_replaced(conv.inputs, 0, conv.inputs[0][0])), "has 3 dimensions, expected 4 or 2"
    yield change(conv, inputs=_replaced(conv.inputs, 0, conv.inputs[0][:0])), "a dimension below 1"
    yield change(conv, inputs=_replaced(conv.inputs, 1, conv.inputs[1][..., :-1])), "input channels of the kernel"
    yield change(conv, inputs=_replaced(conv.inputs, 1, conv.inputs[1][:-1])), "output channels of the kernel"
    yield change(conv, inputs=_replaced(conv.inputs, 2, None)), "no tensor the scale"
    yield change(conv, inputs=_replaced(conv.inputs, 1, conv.inputs[1].astype(np.float32))), "a scale belongs to int8"
    yield change(conv, inputs=_replaced(conv.inputs, 3, conv.inputs[3][1:])), "the bias: got"
    yield change(conv, outputs=_replaced(conv.outputs, 0, short)), "the mask: got"
    yield change(conv, scratch_limit=16), "make the arena larger"
    yield change(dx, options=_with_word(dx.options, 6, 1)), "activation of an input gradient"
    yield change(dx, inputs=_replaced(dx.inputs, 3, np.zeros(1, np.uint8))), "mask_below: got 1"
    yield change(dx, inputs=_replaced(dx.inputs, 4, np.zeros(1, np.float32))), "the other gradient: got 1"
    yield change(depthwise, options=_with_word(depthwise.options, 5, 2)), "groups of a depthwise convolution: got 2"
    yield change(depthwise, inputs=_replaced(depthwise.inputs, 2, depthwise.inputs[2][1:])), "the scale: got"
    yield change(bias, inputs=_replaced(bias.inputs, 3, None)), "no tensor the learning rate"
    yield change(bias, inputs=_replaced(bias.inputs, 1, bias.inputs[1].ravel()[:0])), "the mask: got -1"
    yield change(bias, outputs=bias.outputs[:-1]), "1 outputs, expected 2 to 2"
    yield change(kernel_update, options=_with_word(kernel_update.options, 7, 5)), "optimiser is none of"
    yield change(adam, options=_with_word(adam.options, 4, 0)), "out of its range"
    yield change(adam, inputs=_replaced(adam.inputs, 3, None)), "no tensor the step"
    yield change(adam, inputs=adam.inputs[:-1]), "no tensor second"


def test_refusals_name_op_got_and_expected(program, nodes, tmp_path):
    cases = list(_refused(nodes))
    found, lines = tflm.run(program, [node for node, _ in cases], tmp_path)
    for (node, text), status, line in zip(cases, found, lines, strict=True):
        assert status == 1, f"{node.op}: expected a refusal in Prepare that says {text!r}, got {status}"
        assert line.startswith(node.op) and text in line, f"{node.op}: {line!r} does not say {text!r}"


def test_a_bad_step_fails_and_leaves_the_outputs(program, nodes, tmp_path):
    adam = next(n for n in nodes if n.op == "TINYTL_UPDATE" and "adam" in n.name)
    node = dataclasses.replace(adam, inputs=_replaced(adam.inputs, 3, np.zeros(1, np.int32)))
    found, lines = tflm.run(program, [node], tmp_path)
    assert found == [2] and "status 3" in lines[0]


def _real_tree():
    """Include flags of TFLM_DIR, and of TFLM_INCLUDES: what the tree is compiled with besides, separated by colons."""
    if "TFLM_DIR" not in os.environ:
        pytest.skip("TFLM_DIR names no tree of tflite-micro")
    tree = pathlib.Path(os.environ["TFLM_DIR"])
    downloads = tree / "tensorflow" / "lite" / "micro" / "tools" / "make" / "downloads"
    more = [path for path in os.environ.get("TFLM_INCLUDES", "").split(":") if path]
    folders = [*more, tree, *(downloads / part for part in ("flatbuffers/include", "gemmlowp", "ruy"))]
    return [part for folder in folders for part in ("-isystem", str(folder))]


def test_real_tree_compiles_the_adapter(tmp_path):
    tflm.compile_objects(tmp_path, _real_tree(), REAL)


def test_real_interpreter_runs_every_op(nodes, tmp_path):
    """TFLM_LIBRARY: libtensorflow-microlite.a, as the Makefile of TFLM_DIR builds it."""
    includes = _real_tree()
    if "TFLM_LIBRARY" not in os.environ:
        pytest.skip("TFLM_LIBRARY names no libtensorflow-microlite.a")
    objects = tflm.compile_objects(tmp_path, includes, REAL)
    program = tmp_path / "interpreter"
    paths = [*includes, *toolchain.includes(), f"-I{tflm.ADAPTER}"]
    main = [*tflm.CXX_WARNINGS, *REAL, *paths, tflm.RUNNER.with_name("tflm_interpreter.cc")]
    library = os.environ["TFLM_LIBRARY"]
    toolchain.run([toolchain.require("g++", "g++"), *main, *objects, library, "-lm", "-o", program])
    found, _ = tflm.run(program, nodes, tmp_path, tflm_model.write)
    for node, arrays in zip(nodes, found, strict=True):
        _compare(node, arrays)
