"""Operator order for the least arena.

Several orders are made, each is polished by moving what grows memory back and what frees memory forward, and the one
with the smallest planned arena is kept. An order respects the data dependencies, the order of every variable's reads
and assignments, and for LiteRT the in-place safety edges of `aliasing`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from tflite_export.aliasing import check_in_place, insert_copies, order_edges
from tflite_export.arena import dynamic_tensors, plan, shared_buffers
from tflite_export.graph import Graph, Tensor, producers
from tflite_export.state_order import check_state_order, state_edges
from tflite_export.workspace import litert_workspace

_CLUSTER = 12  # operators that are looked at together when a buffer might be freed early
_ROUNDS = 4  # of polishing


def schedule(graph: Graph, runtime: str = "litert") -> Graph:
    """`graph` with its operators in the order that `runtime` needs the smallest arena for; the same every time.

    The arena is never larger than the given order's, unless that order is unsafe in place. Where no order is safe for
    LiteRT, a copying SLICE is added (`aliasing.insert_copies`).

    Raises:
        ValueError: unknown runtime, or a graph whose operators are out of order.
    """
    plan(graph, runtime)  # refuses an unknown runtime, and a graph that is out of order
    if runtime == "litert":
        graph = insert_copies(graph)
    best, best_total = graph, None
    problem = _Problem(graph, runtime)
    orders = {tuple(order) for order in _candidates(problem)}
    for live, order in sorted((problem.peak(order), order) for order in orders):
        if best_total is not None and live >= best_total:
            break  # the live bytes are a lower bound of the arena
        candidate = graph.replace(ops=tuple(graph.ops[i] for i in order))
        total = plan(candidate, runtime).total_bytes
        if best_total is None or total < best_total:
            best, best_total = candidate, total
    check_in_place(best, runtime)
    check_state_order(best)
    return best


def _candidates(problem: _Problem) -> Iterator[list[int]]:
    given = _list_schedule(problem, lambda grown, position: (position,))
    orders = [
        given,
        _list_schedule(problem, lambda grown, position: (not problem.private[position], position)),
        _list_schedule(problem, lambda grown, position: (grown, position)),
        _list_schedule(problem, lambda grown, position: (min(grown, 0), position)),
        *(_depth_first(problem, by_depth, eager) for by_depth in (False, True) for eager in (False, True)),
    ]
    yield given
    for order in orders:
        yield from _polished(problem, order)


class _Problem:
    """The graph by numbers: operators are counted in the given order, buffers hold one or, in place, more tensors."""

    def __init__(self, graph: Graph, runtime: str):
        ops = graph.ops
        self.count = len(ops)
        number = {op: i for i, op in enumerate(ops)}
        shared = shared_buffers(graph) if runtime == "litert" else {}
        outside = dynamic_tensors(graph) if runtime == "litert" else {}

        def buffers(tensors):
            """The buffers of `tensors`, without constants."""
            owners = (shared[t].owner if t in shared else t for t in tensors if t is not None and not t.is_constant)
            return tuple(dict.fromkeys(t for t in owners if t not in outside))

        self.reads = [buffers(op.inputs) for op in ops]
        self.new = [tuple(t for t in buffers(op.outputs) if t in op.outputs) for op in ops]
        self.workspace = [sum(litert_workspace(op)) if runtime == "litert" else 0 for op in ops]
        self.size = {t: t.nbytes for new in (graph.inputs.values(), *self.new) for t in new}
        self.readers = {t: [] for t in self.size}
        for i, read in enumerate(self.reads):
            for tensor in read:
                self.readers[tensor].append(i)
        self.permanent = set(buffers(graph.outputs.values()))
        if runtime == "litert":  # LiteRT frees neither the graph's inputs nor what nobody reads
            self.permanent |= {*graph.inputs.values(), *(t for t, readers in self.readers.items() if not readers)}
        self.start = [t for t in graph.inputs.values() if t in self.permanent or self.readers[t]]

        producer = producers(ops)
        edges = [(number[producer[t]], i) for i, op in enumerate(ops) for t in op.inputs if t in producer]
        edges += [(number[a], number[b]) for a, b in state_edges(graph)]
        if runtime == "litert":
            edges += [(number[a], number[b]) for a, b in order_edges(graph)]
        self.before = [[] for _ in ops]
        self.after = [[] for _ in ops]
        for a, b in dict.fromkeys(edges):
            self.before[b].append(a)
            self.after[a].append(b)
        # What depends on variables alone can run at any time and only costs memory: it waits for its first reader.
        self.lazy = self._of_variables(ops, set(graph.inputs.values()))
        self.early = self._checks(ops, set(graph.inputs.values()))
        self.private = self._of_one_sink(ops)
        self.sinks = [i for i, op in enumerate(ops) if not op.outputs]
        self.sinks += [i for i, op in enumerate(ops) if not self.after[i] and op.outputs]

    def _of_variables(self, ops, given) -> list[bool]:
        lazy = []
        for i, op in enumerate(ops):
            free = not given.intersection(op.inputs) and all(j < i and lazy[j] for j in self.before[i])
            lazy.append(free and bool(op.outputs))
        return lazy

    def _checks(self, ops, given) -> list[int]:
        """Operators that make one number of the graph's inputs alone: they cost least while nothing else is live."""
        steps: dict[Tensor, int] = dict.fromkeys(given, 0)  # from the inputs
        found = []
        for i, op in enumerate(ops):
            read = [t for t in op.inputs if t is not None and not t.is_constant]
            if read and all(steps.get(t, _CLUSTER) < _CLUSTER for t in read):
                steps.update(dict.fromkeys(op.outputs, 1 + max(steps[t] for t in read)))
                if op.outputs and max(t.size for t in op.outputs) == 1:
                    found.append(i)
        return found

    def _of_one_sink(self, ops) -> list[bool]:
        """Whether everything that an operator leads to ends in one assignment: what an update takes, once its map is
        there."""
        sink: list[int | None] = [None] * len(ops)
        for i in reversed(range(len(ops))):
            ends = {sink[j] for j in self.after[i]} if ops[i].outputs else {i}
            sink[i] = ends.pop() if len(ends) == 1 else None
        return [found is not None for found in sink]

    def growth(self, order) -> list[int]:
        """What each operator of `order` adds to the live bytes, in the order's sequence."""
        left = {t: len(readers) for t, readers in self.readers.items()}
        grown = []
        for i in order:
            change = sum(self.size[t] for t in self.new[i] if left[t] or t in self.permanent)
            for tensor in self.reads[i]:
                left[tensor] -= 1
                if not left[tensor] and tensor not in self.permanent:
                    change -= self.size[tensor]
            grown.append(change)
        return grown

    def peak(self, order) -> int:
        """The most bytes that are live at once."""
        live = highest = sum(self.size[t] for t in self.start)
        for i, change in zip(order, self.growth(order)):
            new = sum(self.size[t] for t in self.new[i])
            highest = max(highest, live + new + self.workspace[i])
            live += change
        return highest


class _Emitter:
    """An order under construction."""

    def __init__(self, problem: _Problem):
        self.problem = problem
        self.order: list[int] = []
        self.done = [False] * problem.count
        self.unmet = [len(before) for before in problem.before]
        self.left = {t: len(readers) for t, readers in problem.readers.items()}

    def waiting_for(self, i: int) -> list[int]:
        """What has to run before operator i can."""
        return [j for j in self.problem.before[i] if not self.done[j]] if self.unmet[i] else []

    def lazy_cone(self, i: int) -> list[int]:
        """Everything that has to run before operator i, in order, if all that it waits for is lazy."""
        cone, stack = set(), self.waiting_for(i)
        while stack:
            j = stack.pop()
            if j not in cone:
                cone.add(j)
                stack += self.waiting_for(j)
        return sorted(cone)

    def emit(self, i: int) -> None:
        self.order.append(i)
        self.done[i] = True
        for j in self.problem.after[i]:
            self.unmet[j] -= 1
        for tensor in self.problem.reads[i]:
            self.left[tensor] -= 1

    def grown(self, i: int) -> int:
        """What operator i would now add to the live bytes, with the lazy operators that it would call for."""
        problem = self.problem
        lazy = self.waiting_for(i)
        total = sum(problem.size[t] for j in (i, *lazy) for t in problem.new[j])
        for tensor in problem.reads[i]:
            if self.left[tensor] == 1 and tensor not in problem.permanent:
                total -= problem.size[tensor]
        return total


def _list_schedule(problem: _Problem, key) -> list[int]:
    """Takes the ready operator with the least key(growth, position) again and again."""
    emitter = _Emitter(problem)
    heap, current = [], {}

    def ready(i):
        return not emitter.done[i] and all(problem.lazy[j] for j in emitter.waiting_for(i))

    def offer(i):
        if not problem.lazy[i] and ready(i):
            current[i] = key(emitter.grown(i), i)
            heapq.heappush(heap, (current[i], i))

    def run(i):
        for j in (*emitter.lazy_cone(i), i):
            emitter.emit(j)
            for k in problem.after[j]:
                offer(k)
            for tensor in problem.reads[j]:
                if emitter.left[tensor] == 1:  # whoever reads it last now frees it
                    for k in problem.readers[tensor]:
                        offer(k)

    for i in range(problem.count):
        offer(i)
    idle = iter(range(problem.count))  # lazy operators that nobody waits for alone
    while len(emitter.order) < problem.count:
        if heap:
            priority, i = heapq.heappop(heap)
            if not emitter.done[i] and current[i] == priority:
                run(i)
        else:
            run(next(i for i in idle if problem.lazy[i] and not emitter.done[i]))
    return emitter.order


def _depth_first(problem: _Problem, by_depth: bool, eager: bool) -> list[int]:
    """Runs what the first sink needs, then what the next one needs besides, and so on.

    Sinks are the ASSIGN_VARIABLE operators, then the outputs; `by_depth` takes those first that lie nearest to the
    start, and of an operator's operands the one farthest from it. With `eager`, buffers that a few small operators
    could free (activation masks) are freed as soon as that is possible.
    """
    emitter = _Emitter(problem)
    depth = [0] * problem.count
    for i in range(problem.count):
        depth[i] = 1 + max((depth[j] for j in problem.before[i] if j < i), default=0)

    def last_wanted(i):
        """Operands in the order in which the stack should give them back: lazy ones at the very end."""
        return problem.lazy[i], -depth[i] if by_depth else i

    sinks = sorted(problem.sinks, key=lambda i: depth[i]) if by_depth else problem.sinks
    for sink in (*problem.early, *sinks):
        stack = [sink]
        while stack:
            i = stack[-1]
            waiting = emitter.waiting_for(i)
            if emitter.done[i]:
                stack.pop()
            elif waiting:
                stack += sorted(waiting, key=last_wanted, reverse=True)
            else:
                stack.pop()
                emitter.emit(i)
                if eager:
                    _free_early(emitter, i)
    return emitter.order


def _free_early(emitter: _Emitter, emitted: int) -> None:
    """Runs the remaining readers of the buffers that `emitted` touched where that lowers the live bytes."""
    problem = emitter.problem
    touched = [*problem.reads[emitted], *problem.new[emitted]]
    while touched:
        tensor = touched.pop()
        if tensor in problem.permanent or not emitter.left[tensor]:
            continue
        cluster = _freeing_cluster(emitter, [i for i in problem.readers[tensor] if not emitter.done[i]])
        for i in cluster:
            emitter.emit(i)
            touched += [*problem.reads[i], *problem.new[i]]


def _freeing_cluster(emitter: _Emitter, readers: list[int]) -> list[int]:
    """`readers`, and what follows them as long as that frees more, if all of it can run now and frees more than it
    takes."""
    problem, cluster, total = emitter.problem, [], 0
    inside, taken = set(), {}

    def available(i):
        return all(j in inside or problem.lazy[j] for j in emitter.waiting_for(i))

    def grown(i):
        wanted = [j for j in emitter.waiting_for(i) if j not in inside]
        change = sum(problem.size[t] for j in (i, *wanted) for t in problem.new[j])
        for tensor in problem.reads[i]:
            if emitter.left[tensor] - taken.get(tensor, 0) == 1 and tensor not in problem.permanent:
                change -= problem.size[tensor]
        return change

    def take(i):
        for j in (*(j for j in emitter.lazy_cone(i) if j not in inside), i):
            inside.add(j)
            cluster.append(j)
            for tensor in problem.reads[j]:
                taken[tensor] = taken.get(tensor, 0) + 1

    if len(readers) > _CLUSTER:
        return []
    for i in readers:
        if i in inside:
            continue
        if not available(i):
            return []
        total += grown(i)
        take(i)
    least, length = total, len(cluster)
    while len(cluster) <= _CLUSTER:
        following = {i: None for member in cluster for i in problem.after[member] if i not in inside}
        following = [i for i in following if not emitter.done[i] and available(i)]
        if not following:
            break
        i = min(following, key=grown)
        total += grown(i)
        take(i)
        if total < least:
            least, length = total, len(cluster)
    return cluster[:length] if least < 0 else []


def _polished(problem: _Problem, order: list[int]) -> Iterator[list[int]]:
    """`order`, and what becomes of it when growing operators sink to their first use and freeing ones rise."""
    yield order
    best = problem.peak(order)
    for step in range(2 * _ROUNDS):
        order = _sink(problem, order) if step % 2 == 0 else _rise(problem, order)
        peak = problem.peak(order)
        if peak < best:
            best = peak
            yield order


def _sink(problem: _Problem, order: list[int]) -> list[int]:
    position = {i: float(p) for p, i in enumerate(order)}
    rank = dict(zip(order, range(len(order))))
    for i, grown in zip(reversed(order), reversed(problem.growth(order))):
        if grown > 0 and problem.after[i]:
            position[i] = min(position[j] for j in problem.after[i])
    return sorted(order, key=lambda i: (position[i], rank[i]))


def _rise(problem: _Problem, order: list[int]) -> list[int]:
    position = {i: float(p) for p, i in enumerate(order)}
    rank = dict(zip(order, range(len(order))))
    for i, grown in zip(order, problem.growth(order)):
        if grown <= 0 and problem.before[i]:
            position[i] = max(position[j] for j in problem.before[i])
    return sorted(order, key=lambda i: (position[i], rank[i]))
