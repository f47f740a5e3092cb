"""The budget of a training step: what fits, what it costs, and that the compiled step still does the same."""

import re

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflite_export
import tinytl_keras
from tests.tflite_export.block_networks import (
    NETWORKS,
    Network,
    batch_of,
    inverted_residuals,
    lite,
    normalized,
    plain,
    step_of,
)
from tests.tflite_export.models import residual_network
from tests.tflite_export.runtimes import KERNELS, relative_difference
from tests.tflite_export.training_updates import assert_same_updates, updates
from tflite_export import flatbuffer, memory_budget, signatures
from tflite_export.compilation import compile_signature
from tflite_export.graph import Graph, Program
from tflite_export.memory_budget import (
    BudgetTooSmall,
    arena_bytes,
    in_parts_that_fit,
    parse_bytes,
    recompute,
    within_budget,
)
from tflite_export.passes.channel_split import split_channels
from tflite_export.passes.common_subexpressions import merge_common_subexpressions
from tflite_export.passes.rematerialise import Segment, segments

FORMS = ["builtin", "xnnpack", "micro"]


def lean_step(original: Graph, largest: int = 1) -> Graph:
    """Everything split and everything computed twice."""
    forward = split_channels(merge_common_subexpressions(original), largest)
    step = step_of(forward)
    return recompute(step, forward.ops, segments(step, forward.ops))


def check_reads_before_writes(graph: Graph) -> None:
    """Whatever uses a variable's old value comes before the operator that makes the new one, or is that operator."""
    position = {op: i for i, op in enumerate(graph.ops)}
    writer = {tensor: op for op in graph.ops for tensor in op.outputs}
    assigned = [op for op in graph.ops if op.kind == "ASSIGN_VARIABLE"]
    assert len({op.attributes["variable"] for op in assigned}) == len(assigned) > 0
    for assignment in assigned:
        variable, new = assignment.attributes["variable"], writer[assignment.inputs[0]]
        reads = [op for op in graph.ops if op.kind == "READ_VARIABLE" and op.attributes["variable"] is variable]
        old = {op.outputs[0] for op in reads}
        users = [op for op in graph.ops if old.intersection(op.inputs)]
        assert reads and all(position[op] < position[assignment] for op in reads), variable.name
        assert all(op is new or position[op] < position[new] for op in users), variable.name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "network", ["inverted residuals", "normalized", "lite residual branches", "plain", "bottleneck"]
)
def test_a_compiled_step_reads_old_values(network, form):
    """The order keeps them, and the evaluator takes the same two steps at a large learning rate."""
    original = NETWORKS[network]()
    compiled = compile_signature(lean_step(original), form)
    check_reads_before_writes(compiled)
    assert_same_updates(step_of(original), compiled, batch_of(original, learning_rate=1.0), tolerance=1e-5)


@pytest.mark.parametrize("form", ["builtin", "xnnpack"])
@pytest.mark.parametrize("network", [inverted_residuals, normalized, lite, plain])
def test_litert_takes_the_same_steps(network, form):
    """Three steps on one batch at a large learning rate, with both kernel sets, against the whole step in numpy."""
    original = network()
    batch = batch_of(original, learning_rate=0.3)
    expected = updates(step_of(original), batch, steps=3)
    step = compile_signature(lean_step(original), form)
    content = flatbuffer.write(Program((step, signatures.save(step.variables))))
    for kernels, resolver in KERNELS.items():
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
        train, saved = (interpreter.get_signature_runner(name) for name in ("train", "save"))
        for _ in range(3):
            train(**batch)
        after = saved(request=np.zeros(1, np.float32))
        for variable, change in expected.items():
            got = after[variable.name] - variable.initial
            assert relative_difference(got, change) < 2e-3, f"{kernels}: {variable.name}"


def test_splitting_and_recomputing_take_much_less():
    """16 x 16 pixels, eight times wider inside the blocks than between them, for the builtin kernels."""
    forward = inverted_residuals(32, 32, wide=48, batch=1)
    step = step_of(forward)
    whole = arena_bytes(step, "builtin")
    again = arena_bytes(recompute(step, forward.ops, segments(step, forward.ops)), "builtin")
    split = split_channels(forward, 16 * 16 * 16 * 4)
    in_parts = step_of(split)
    both = arena_bytes(recompute(in_parts, split.ops, segments(in_parts, split.ops)), "builtin")
    in_parts = arena_bytes(in_parts, "builtin")
    assert again < 0.96 * whole and in_parts < 0.65 * whole and both < 0.5 * whole


def test_a_budget_is_kept():
    n = Network(10, 10, 6, batch=1)
    original = n.head(n.inverted_residual(n.inverted_residual(n.x, 48, 6), 48, 6))
    forward = split_channels(original, 10 * 10 * 16 * 4)
    step = step_of(forward)
    most, least = (arena_bytes(recompute(step, forward.ops, s), "builtin") for s in ((), segments(step, forward.ops)))
    assert least < 0.9 * most
    fitting = within_budget(step, forward, "builtin", (most + least) // 2)
    assert arena_bytes(fitting, "builtin") <= (most + least) // 2
    assert_same_updates(step_of(original), fitting, batch_of(original))


@pytest.mark.parametrize("network, again", [(lite, {"READ_VARIABLE", "MEAN", "SUB"}), (normalized, {"SUB"})])
def test_no_budget_recomputes_no_convolution(network, again):
    forward = network()
    step = step_of(forward)
    without = within_budget(step, forward, "builtin", None)
    assert again <= {op.kind for op in without.ops if op.outputs and "/again" in op.outputs[0].name}
    count = [sum(op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") for op in graph.ops) for graph in (step, without)]
    assert count[0] == count[1]
    assert_same_updates(step, without, batch_of(forward))


def stand_in(monkeypatch, sizes) -> list[int]:
    """In place of compiling, the arena by the number of segments that are computed twice; returns what is asked for."""
    asked = []
    found = [Segment((), nbytes, multiplications) for nbytes, multiplications in ((50, 10), (0, 0), (70, 10), (60, 20))]
    monkeypatch.setattr(memory_budget, "segments", lambda step, ops: found)
    monkeypatch.setattr(memory_budget, "recompute", lambda step, ops, chosen: [s.kept_bytes for s in chosen])
    monkeypatch.setattr(memory_budget, "arena_bytes", lambda chosen, _: asked.append(chosen) or sizes[len(chosen)])
    return asked


@pytest.mark.parametrize("budget, chosen", [(90, 0), (80, 0), (79, 1), (60, 1), (40, 2), (39, 3), (30, 3)])
def test_the_fewest_segments_that_fit_are_computed_twice(monkeypatch, budget, chosen):
    """Those first that free most bytes for each multiplication."""
    stand_in(monkeypatch, [80, 60, 40, 30])
    step = plain()
    assert within_budget(step, step, "builtin", budget) == [70, 50, 60][:chosen]


def test_more_copies_may_take_more(monkeypatch):
    """A plan with fewer copies is found where the one with all of them is larger; every plan is made once."""
    asked = stand_in(monkeypatch, [50, 40, 70, 60])
    step = plain()
    assert within_budget(step, step, "builtin", 50) == []
    asked.clear()
    assert within_budget(step, step, "builtin", 45) == [70]
    assert len(asked) == 4
    with pytest.raises(ValueError, match="at least 40 bytes"):
        within_budget(step, step, "builtin", 39)


def test_a_budget_that_is_too_small_is_refused_with_numbers():
    n = Network(9, 9, 4)
    forward = n.head(n.inverted_residual(n.x, 16, 4))
    step = step_of(forward)
    found = segments(step, forward.ops)
    least = min(arena_bytes(recompute(step, forward.ops, chosen), "builtin") for chosen in ((), found))
    refusal = rf"memory_budget=1,024 bytes is too small: a training step needs an arena of at least {least:,} bytes"
    with pytest.raises(ValueError, match=refusal):
        within_budget(step, forward, "builtin", 1024)
    with pytest.raises(BudgetTooSmall, match="too small") as refused:
        within_budget(step, forward, "builtin", least - 1)
    assert refused.value.needed == least
    assert arena_bytes(within_budget(step, forward, "builtin", least), "builtin") == least


@pytest.mark.parametrize(
    ("options", "activation", "offered", "not_offered"),
    [
        ({"batch_size": 2}, "relu", ["micro_batch"], ["one_bit"]),
        ({"batch_size": 2, "micro_batch": 1}, "hard_swish", ["one_bit"], ["micro_batch", "batch_size"]),
        ({"activation_gradients": "one_bit"}, "silu", [], ["micro_batch", "one_bit"]),
        ({"runtime": "micro", "batch_size": 2, "infer_batch_size": 2}, "silu", ["batch_size", "one_bit"], ["micro_b"]),
    ],
)
def test_what_a_refusal_offers_would_help(options, activation, offered, not_offered, tmp_path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation=activation)(image)
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    with pytest.raises(tflite_export.BudgetTooSmall, match="What takes less: fewer layers.*smaller images") as refused:
        tflite_export.export(model, tmp_path / "model.tflite", **options, memory_budget="0.2KB", verify=False)
    assert [text for text in offered if text not in str(refused.value)] == []
    assert [text for text in not_offered if text in str(refused.value)] == []


def test_the_report_says_the_budget_as_it_was_given(tmp_path):
    model = tinytl_keras.convert(residual_network(33), "bias")
    for given, text, nbytes in (
        ("1200KB", "within 1200KB = 1.23 MB)", 1_228_800),
        (999_000, "within 999.0 KB)", 999_000),
    ):
        report = tflite_export.export(model, tmp_path / "model.tflite", memory_budget=given, verify=False)
        assert text in str(report) and report.memory_budget == nbytes


@pytest.mark.parametrize(
    "network, form", [(inverted_residuals, "builtin"), (plain, "xnnpack"), (inverted_residuals, "micro")]
)
def test_compiling_twice_gives_the_same_bytes(network, form):
    first, second = (flatbuffer.write(Program((compile_signature(lean_step(network()), form),))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "budget, nbytes",
    [
        (None, None), (1, 1), (1_000_000, 1_000_000), ("256", 256), ("256B", 256), ("256KB", 262_144),
        ("7.5 MB", 7_864_320), (" 8mb ", 8_388_608), ("1 GB", 1 << 30), ("0.5kb", 512), ("1.5", 1),
    ],
)  # fmt: skip
def test_bytes_in_numbers_and_words(budget, nbytes):
    assert parse_bytes(budget) == nbytes


@pytest.mark.parametrize(
    "budget",
    [0, -1, 1.5, 1e6, True, False, "", "MB", "0", "0.1B", "-8MB", "8 TB", "8M", "8MiB", "8 M B", "1e6", "1,000", "8MB!",
     "\u0663KB", "8\u212aB", [8], b"8MB", float("nan")],
)  # fmt: skip
def test_what_is_no_number_of_bytes(budget):
    with pytest.raises(ValueError, match="memory_budget must be a positive number of bytes") as refusal:
        parse_bytes(budget)
    assert repr(budget) in str(refusal.value)


@pytest.mark.parametrize(
    "options", [{"kernels": "builtin", "batch_size": 4, "micro_batch": 1}, {"runtime": "micro"}, {"kernels": "xnnpack"}]
)
def test_the_budget_bounds_what_the_report_tells(options, tmp_path):
    """Of a file with micro-batches, the arenas of both signatures; for TFLite Micro, that of the whole entry."""
    model = tinytl_keras.convert(residual_network(33), "bias")

    def arena(budget):
        path = tmp_path / "model.tflite"
        return tflite_export.export(model, path, **options, memory_budget=budget, verify=False).train_arena_bytes

    whole = arena(None)
    assert arena(whole) <= whole  # in fewer parts, where they fit
    with pytest.raises(BudgetTooSmall) as refused:
        arena(1000)
    least = int(re.search(r"at least ([\d,]+) bytes", str(refused.value))[1].replace(",", ""))
    assert arena(least) == least <= whole
    with pytest.raises(BudgetTooSmall):
        arena(least - 1)


def test_the_first_parts_that_fit_are_taken():
    def compiled(parts):
        if parts < 4:
            raise BudgetTooSmall(f"{parts} parts", needed=100 // parts)
        return parts

    assert in_parts_that_fit((2, 4, 8), compiled) == 4
    with pytest.raises(BudgetTooSmall, match="3 parts"):
        in_parts_that_fit((2, 3), compiled)
