"""Rows that outlive an interruption, but not a change of the program."""

import pytest
from kept_rows import KeptRows, digest_of


def test_rows_are_there_again(tmp_path):
    path = tmp_path / "new folder" / "rows.json"
    kept = KeptRows(path, "program")
    assert "a" not in kept
    kept.keep("a", {"worst": 1.5, "names": ["x"]})
    kept.keep("b", {"worst": float("inf")})
    again = KeptRows(path, "program")
    assert again["a"] == {"worst": 1.5, "names": ["x"]} and again["b"] == {"worst": float("inf")}


def test_another_program_starts_anew(tmp_path):
    path = tmp_path / "rows.json"
    KeptRows(path, "program").keep("a", 1)
    changed = KeptRows(path, "changed program")
    assert "a" not in changed
    changed.keep("b", 2)
    assert "a" not in KeptRows(path, "changed program")


@pytest.mark.parametrize("change", ["content", "name", "new file"])
def test_the_digest_sees_every_change(tmp_path, change):
    folder = tmp_path / "package"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.py").write_text("x = 1\n")
    (folder / "notes.txt").write_text("not the program\n")
    digest = digest_of((folder,), ("numpy",))
    (folder / "notes.txt").write_text("changed\n")
    assert digest_of((folder,), ("numpy",)) == digest
    if change == "content":
        (folder / "inner" / "a.py").write_text("x = 2\n")
    elif change == "name":
        (folder / "inner" / "a.py").rename(folder / "inner" / "b.py")
    else:
        (folder / "c.py").write_text("")
    assert digest_of((folder,), ("numpy",)) != digest
    assert digest_of((folder,), ()) != digest_of((folder,), ("numpy",))
