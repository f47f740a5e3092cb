"""Seeded random graphs for the arena, aliasing and schedule tests."""

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Tensor, Variable


def random_graph(seed, operators=40, variables=2):
    """A valid graph of operators that ask for no kernel temporaries, full of aliases and shared operands.

    It reads every variable at random places and assigns each once, after its last read.
    """
    rng = np.random.default_rng(seed)
    b = Builder()
    inputs = {f"x{i}": Tensor(f"x{i}", (int(rng.integers(1, 5)), int(rng.integers(2, 40)))) for i in range(2)}
    state = [
        Variable(f"v{i}", rng.normal(size=(1, int(rng.integers(2, 40)))).astype(np.float32)) for i in range(variables)
    ]
    live = list(inputs.values())

    def pick():
        return live[-1 - min(int(rng.exponential(4)), len(live) - 1)]

    for _ in range(operators):
        b.origin = f"op{len(b.ops)}"  # so that no two tensors share a name
        x = pick()
        choice = rng.integers(0, 9)
        if choice == 0 and state:
            y = b.read(state[rng.integers(len(state))])
        elif choice == 1:
            same = [t for t in live if t.shape == x.shape]
            y = b.binary(rng.choice(["ADD", "SUB", "MUL"]), x, same[rng.integers(len(same))])
        elif choice == 2:
            y = b.binary(rng.choice(["ADD", "SUB", "MUL"]), x, constant(rng.normal()))
        elif choice in (3, 4):
            shape = (x.shape[0] * x.shape[1],) if len(x.shape) == 2 else (1, x.shape[0])
            y = b.reshape(x, shape)
        elif choice == 5:
            y = b.unary("SOFTMAX", x, beta=1.0)
        elif choice == 6:
            y = b.slice(x, (0,) * len(x.shape), (max(1, x.shape[0] // 2), *x.shape[1:]))
        elif choice == 7:
            y = b.concatenate([x, x], 0)
            b.origin += "/cut"
            y = b.slice(y, (0,) * len(y.shape), (min(y.shape[0], 6), *y.shape[1:]))
        else:
            y = b.unary(rng.choice(["TANH", "ABS", "LOGISTIC"]), x)
        live.append(y)
    for variable in state:
        b.origin = variable.name
        same = [t for t in live if t.size == variable.initial.size] or [b.read(variable)]
        b.assign(variable, b.unary("TANH", b.reshape(same[-1], variable.shape)))
    read = {t for op in b.ops for t in op.inputs}
    outputs = [t for t in live if t not in read and t not in inputs.values()][-3:]
    return Graph("step", inputs, {f"y{i}": t for i, t in enumerate(outputs)}, tuple(b.ops))


def random_inputs(graph, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=t.shape).astype(np.float32) for name, t in graph.inputs.items()}
