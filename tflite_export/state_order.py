"""The order that variables demand.

LiteRT's builtin kernels copy on READ_VARIABLE and on ASSIGN_VARIABLE. XNNPACK elides both copies: the readers of a read
value look at the variable itself, and the operator that computes the value to assign writes straight into it; a RESHAPE
in between copies nothing either. So that operator must wait for everybody who still needs the old value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from tflite_export.graph import Graph, Op, Tensor, consumers, producers


def state_edges(graph: Graph) -> list[tuple[Op, Op]]:
    """(earlier, later) pairs of operators that keep every variable's value as long as it is needed.

    Reads and assignments of a variable keep their order, except that of reads among themselves; and whoever uses what
    a read returned comes before the operator that computes the next value.
    """
    assigned, read = {}, defaultdict(list)
    users, writers = consumers(graph.ops), producers(graph.ops)
    edges = []
    for op in graph.ops:
        variable = op.attributes.get("variable")
        if variable is None:
            continue
        if variable in assigned:
            edges.append((assigned[variable], op))
        if op.kind == "ASSIGN_VARIABLE":
            writer = writers.get(op.inputs[0], op)
            while writer.kind == "RESHAPE" and writer.inputs[0] in writers:
                writer = writers[writer.inputs[0]]
            for reader in read.pop(variable, ()):
                edges.append((reader, op))
                edges += [(user, writer) for user in _users(reader.outputs[0], users) if user is not writer]
            assigned[variable] = op
        else:
            read[variable].append(op)
    return edges


def _users(tensor: Tensor, users: Mapping[Tensor, list[Op]]) -> Iterator[Op]:
    """Whoever reads a tensor, or the same bytes in another shape."""
    for user in users.get(tensor, ()):
        yield user
        if user.kind == "RESHAPE":
            yield from _users(user.outputs[0], users)


def check_state_order(graph: Graph) -> None:
    """Proves that the order of `graph` respects `state_edges`.

    Raises:
        ValueError: names the two operators and the variable's reader.
    """
    position = {op: i for i, op in enumerate(graph.ops)}
    for earlier, later in state_edges(graph):
        if position[earlier] >= position[later]:
            raise ValueError(
                f"operator {position[later]}, {later}, may overwrite a variable that operator {position[earlier]}, "
                f"{earlier}, still needs; schedule() orders them"
            )
