"""Names in tables and plots."""


def shorten(text: str, width: int) -> str:
    """`text` in `width` characters at most. The front is cut off, where a path says least."""
    return text if len(text) <= width else "…" + text[1 - width :]
