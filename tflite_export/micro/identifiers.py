"""C identifiers from layers' names."""

from __future__ import annotations

import re

_RESERVED = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true "
    "false NULL x y logits loss correct arena state optimizer result status".split()
)


class Identifiers:
    """Gives every thing a name of its own, after what it is called elsewhere."""

    def __init__(self):
        self._taken = set(_RESERVED)
        self._names: dict[object, str] = {}

    def __call__(self, thing: object, wanted: str) -> str:
        if thing not in self._names:
            base = identifier(wanted)
            name, number = base, 1
            while name in self._taken:
                number += 1
                name = f"{base}_{number}"
            self._taken.add(name)
            self._names[thing] = name
        return self._names[thing]


def identifier(text: str) -> str:
    """`text` with an underscore for whatever C does not take."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return name if re.match(r"[A-Za-z]", name) else f"_{name}" if not name else f"layer_{name}"
