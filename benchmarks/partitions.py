"""What XNNPACK takes of a signature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from litert import Session
from settings import only

_WITHOUT_MEMORY = ("CALL_ONCE", "VAR_HANDLE")


def partitions(path: Path, signature: str) -> tuple[int, Counter]:
    """How many partitions of `signature` XNNPACK runs, and how often each operator stays outside of them.

    LiteRT gives memory to what a partition takes in and gives back, and to nothing inside. So an operator is outside if
    its output has memory and is not what a partition gives back. Operators without output are not counted.
    """
    session = Session(only(path, signature), "xnnpack")
    session.run(None, **session.random_inputs(None))
    ops = session.interpreter._get_ops_details()
    delegated = [op for op in ops if op["op_name"] == "DELEGATE"]
    given_back = {tensor for op in delegated for tensor in op["outputs"]}
    outside = Counter(
        op["op_name"]
        for op in ops
        if op["op_name"] not in ("DELEGATE", *_WITHOUT_MEMORY)
        and any(tensor not in given_back and _has_memory(session, tensor) for tensor in op["outputs"])
    )
    return len(delegated), outside


def _has_memory(session: Session, tensor: int) -> bool:
    try:
        return session.interpreter.tensor(tensor)() is not None
    except ValueError:
        return False
