"""Names in tables and plots."""


def shorten(text: str, width: int) -> str:
    """`text` in `width` characters at most. Both ends stay: a block often comes first in a name, a role last."""
    if len(text) <= width:
        return text
    front = (width - 1) // 2
    return f"{text[:front]}…{text[len(text) + front + 1 - width :]}"
