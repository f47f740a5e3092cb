"""Times that a busy machine disturbs little: what is compared runs in turns, in one process, with one thread.

Processor time is measured, which on an idle machine is the time that passes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from litert import Session


def runner(path: Path, kernels: str, signatures: Mapping[str, int] | None = None) -> Callable[[], None]:
    """Runs `signatures` of the file in order, each as often as it says; None: the file's only signature, once."""
    session = Session(str(path), kernels)
    counts = dict(signatures or {None: 1})
    inputs = {signature: session.random_inputs(signature) for signature in counts}

    def run():
        for signature, count in counts.items():
            for _ in range(count):
                session.run(signature, **inputs[signature])

    return run


def alternated(runs: Sequence[Callable[[], None]], rounds: int) -> tuple[list[float], list[float]]:
    """Of each of `runs`: the median of its milliseconds, and the median of its ratio to the last one's in one round."""
    for run in runs:  # the first run allocates
        run()
    times = [[_milliseconds(run) for run in runs] for _ in range(rounds)]
    ratios = [[one / row[-1] for one in row] for row in times]
    return [statistics.median(column) for column in zip(*times)], [statistics.median(column) for column in zip(*ratios)]


def _milliseconds(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)
