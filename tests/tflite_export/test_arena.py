"""The plan against small plans made by hand, and against the addresses that the runtimes really use."""

import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.tflite_export.random_graphs import random_graph
from tflite_export.arena import activations, dynamic_tensors, last_reads, plan, shared_buffers
from tflite_export.builder import Builder, constant
from tflite_export.flatbuffer import write
from tflite_export.graph import Graph, Op, Program, Tensor, Variable
from tflite_export.micro_arena import dictated_offsets


def chain(*kinds, size=100):
    """x -> one operator per kind -> y."""
    b, x = Builder(), Tensor("x", (1, size))
    y = x
    for i, kind in enumerate(kinds):
        b.origin = str(i)
        if kind == "RESHAPE":
            y = b.reshape(y, y.shape[::-1])
        elif kind == "ADD":
            y = b.add(y, constant(1))
        else:
            y = b.unary(kind, y)
    return Graph("chain", {"x": x}, {"y": y}, tuple(b.ops))


def outputs(graph):
    return [op.outputs[0] for op in graph.ops]


def test_in_place_operators_share_their_inputs_buffer():
    graph = chain("EXP", "ADD", "RESHAPE", "SOFTMAX", "TANH")
    exp, add, reshape, softmax, tanh = outputs(graph)
    shared = shared_buffers(graph)
    assert {t: s.owner for t, s in shared.items()} == {add: exp, reshape: exp, softmax: exp}
    assert [shared[t].modifies for t in (add, reshape, softmax)] == [True, False, True]
    arena = plan(graph)
    assert [arena.placements[t].offset for t in (add, reshape, softmax)] == [arena.placements[exp].offset] * 3
    assert (arena.placements[exp].first, arena.placements[exp].last) == (0, 4)
    assert (arena.placements[add].first, arena.placements[add].last) == (1, 2)
    assert arena.placements[tanh].last == len(graph.ops)
    assert arena.total_bytes == 448 + 448 + 400  # x, exp, tanh at multiples of 64


def test_graph_inputs_outputs_and_constants_are_never_shared():
    x, b = Tensor("x", (1, 100)), Builder()
    first = b.add(x, constant(1))
    assert not shared_buffers(Graph("g", {"x": x}, {"y": first}, tuple(b.ops)))
    b.add(constant(np.ones(100)), constant(np.ones(100)))
    b.add(first, constant(1))
    assert not shared_buffers(Graph("g", {"x": x}, {"y": first}, tuple(b.ops)))


def test_what_else_keeps_an_operator_from_working_in_place():
    x, b = Tensor("x", (1, 100)), Builder()
    exp = b.unary("EXP", x)
    b.add(exp, constant(np.ones((2, 1))))  # a larger output
    small = b.unary("EXP", b.slice(exp, (0, 0), (1, 1)))
    b.add(small, constant(1))  # four bytes
    twice = b.unary("TANH", x)
    b.add(twice, twice)  # two references
    graph = Graph("g", {"x": x}, {}, tuple(b.ops))
    assert not shared_buffers(graph)


def test_the_second_operand_is_shared_where_the_first_cannot_be():
    x, b = Tensor("x", (1, 100)), Builder()
    exp = b.unary("EXP", x)
    total = b.sub(x, exp)
    y = b.unary("TANH", total)
    assert shared_buffers(Graph("g", {"x": x}, {"y": y}, tuple(b.ops)))[total].owner is exp


def test_lifetimes_for_both_runtimes():
    x, b = Tensor("x", (1, 64)), Builder()
    a = b.unary("EXP", x)
    dead = b.unary("TANH", a)
    c = b.unary("ABS", a)
    d = b.unary("TANH", c)
    graph = Graph("g", {"x": x}, {"d": d}, tuple(b.ops))
    litert, micro = plan(graph, "litert").placements, plan(graph, "micro").placements
    lives = {t: (litert[t].first, litert[t].last) for t in (x, a, dead, c, d)}
    assert lives == {x: (-1, 4), a: (0, 2), dead: (1, 4), c: (2, 3), d: (3, 4)}
    lives = {t: (micro[t].first, micro[t].last) for t in (x, a, dead, c, d)}
    assert lives == {x: (-1, 0), a: (0, 2), dead: (1, 1), c: (2, 3), d: (3, 4)}
    assert plan(graph, "litert").total_bytes == 4 * 256
    assert plan(graph, "micro").total_bytes == 3 * 256  # two live at once, but a, placed last, finds no single gap


def test_micro_shares_nothing_and_rounds_up_to_sixteen():
    graph = chain("EXP", "ADD", "RESHAPE", size=3)
    arena = plan(graph, "micro")
    assert all(p.shares is None and p.offset % 16 == 0 and p.size == 16 for p in arena.placements.values())
    assert arena.total_bytes == 2 * 16


def test_scalar_reads_are_outside_litert_s_arena():
    rate = Variable("rate", np.float32(0.5))
    b, x = Builder(), Tensor("x", (1, 100))
    scalar = b.read(rate)
    y = b.mul(x, scalar)
    graph = Graph("g", {"x": x}, {"y": y}, tuple(b.ops))
    assert list(dynamic_tensors(graph)) == [scalar]
    assert scalar not in plan(graph).placements
    assert scalar in plan(graph, "micro").placements


def test_refusals():
    graph = chain("EXP", "TANH")
    with pytest.raises(ValueError, match=r"runtime must be one of .*Received: runtime='tvm'"):
        plan(graph, "tvm")
    with pytest.raises(ValueError, match=r"out of order: .*TANH.* reads '0/exp' before it is written"):
        plan(graph.replace(ops=graph.ops[::-1]))


def overlapping(arena):
    """Pairs of buffers that live at the same time in the same bytes."""
    buffers = [p for p in arena.placements.values() if p.shares is None]
    return [
        (p, q)
        for i, p in enumerate(buffers)
        for q in buffers[:i]
        if p.first <= q.last and q.first <= p.last and p.offset < q.offset + q.size and q.offset < p.offset + p.size
    ]


@pytest.mark.parametrize("runtime", ["litert", "micro"])
def test_no_two_live_buffers_overlap(runtime):
    for seed in range(20):
        arena = plan(random_graph(seed), runtime)
        assert not overlapping(arena)
        assert arena.total_bytes == max(p.offset + p.size for p in arena.placements.values())


def litert_addresses(graph, invoke=False):
    interpreter = Interpreter(
        model_content=write(Program((graph,))),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    if invoke:
        interpreter.invoke()
    indices = {d["name"]: d["index"] for d in interpreter.get_tensor_details()}

    def address(tensor):
        return interpreter.tensor(indices[tensor.name])().__array_interface__["data"][0]

    # Python hands out copies of scalars: their address says nothing.
    return {tensor: address(tensor) for tensor in plan(graph).placements if tensor.shape}


@pytest.mark.parametrize("seed", range(40))
def test_litert_puts_every_tensor_where_the_plan_says(seed):
    graph = random_graph(seed)
    arena, addresses = plan(graph), litert_addresses(graph)
    base = min(addresses.values())
    assert {t: address - base for t, address in addresses.items()} == {t: p.offset for t, p in arena.placements.items()}


def test_litert_plans_on_after_a_scalar_read():
    rng = np.random.default_rng(3)
    scalars = [Variable(f"s{i}", np.float32(i)) for i in range(3)]
    b, x = Builder(), Tensor("x", (2, 33))
    live = [x]
    for i in range(24):
        b.origin = f"op{i}"
        source = live[-1 - rng.integers(min(3, len(live)))]
        if i % 8 == 5:
            scalar = b.read(scalars[i // 8])
            width = int(rng.integers(4, source.shape[1]))
            source = b.add(b.slice(source, (0, 0), (1, width)), b.reshape(scalar, (1, 1)))
        live.append(b.unary("TANH", source))
    graph = Graph("g", {"x": x}, {"y": live[-1]}, tuple(b.ops))
    arena, addresses = plan(graph), litert_addresses(graph, invoke=True)
    base = min(addresses.values())
    assert {t: a - base for t, a in addresses.items()} == {t: arena.placements[t].offset for t in addresses}


@pytest.mark.parametrize("seed", range(12))
def test_micro_s_arena_head_is_the_plan(seed, capfd):
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    graph = random_graph(seed, variables=0)
    interpreter = micro.Interpreter.from_bytes(write(Program((graph,))), arena_size=1 << 22)
    interpreter.print_allocations()
    (head,) = re.findall(r"Arena allocation head (\d+) bytes", "".join(capfd.readouterr()))
    assert int(head) == plan(graph, "micro").total_bytes


def two_branches(seed) -> Graph:
    """An entry that runs one of two random graphs of one input."""
    then, other = (random_graph(seed, variables=0), random_graph(seed, variables=0))
    b, flag = Builder(), Tensor("flag", (1,), "int32")
    inputs = {name: Tensor(name, t.shape, t.dtype) for name, t in then.inputs.items()}
    outputs = {name: Tensor(name, t.shape, t.dtype) for name, t in then.outputs.items()}
    condition = b.compare("EQUAL", flag, constant(1, "int32"))
    graphs = {"then_graph": then, "else_graph": other}
    b.copy(Op("IF", (condition, *inputs.values()), tuple(outputs.values()), graphs))
    return Graph("entry", {**inputs, "flag": flag}, outputs, tuple(b.ops))


def micro_head(program, capfd) -> int:
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    interpreter = micro.Interpreter.from_bytes(write(program), arena_size=1 << 22)
    capfd.readouterr()
    interpreter.print_allocations()
    (head,) = re.findall(r"Arena allocation head (\d+) bytes", "".join(capfd.readouterr()))
    return int(head)


@pytest.mark.parametrize("seed", range(8))
def test_micro_plans_the_branches_of_an_if_inside_it(seed, capfd):
    entry = two_branches(seed)
    assert plan(entry, "micro").total_bytes == micro_head(Program((entry,)), capfd)
    offsets = dictated_offsets(entry)
    assert plan(entry, "micro", offsets).total_bytes == micro_head(Program((entry,), offsets=offsets), capfd)


@pytest.mark.parametrize("seed", range(8))
def test_dictated_offsets_share_inputs_and_keep_what_is_alive_apart(seed):
    entry = two_branches(seed)
    offsets = dictated_offsets(entry)
    assert plan(entry, "micro", offsets).total_bytes <= plan(entry, "micro").total_bytes
    for branch in entry.branches if offsets else ():
        kept = [t for t in (*entry.ops[-1].outputs, entry.inputs["flag"]) if t.nbytes]
        for given, own in zip(entry.inputs.values(), branch.inputs.values()):
            assert offsets[given] == offsets[own]
        reads = last_reads(branch)
        lives = {t: (first, max(first, reads.get(t, first))) for t, first in activations(branch).items() if t.nbytes}
        lives.update({t: (-1, len(branch.ops)) for t in kept})
        tensors = list(lives)
        for i, p in enumerate(tensors):
            for q in tensors[:i]:
                together = lives[p][0] <= lives[q][1] and lives[q][0] <= lives[p][1]
                apart = offsets[p] + p.nbytes <= offsets[q] or offsets[q] + q.nbytes <= offsets[p]
                assert apart or not together, (p, q)
