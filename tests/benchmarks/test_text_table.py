from text_table import table


def test_columns_are_aligned():
    assert table(("name", "MB"), [("a", "1.0"), ("longer", "12.5")]) == "\n".join(
        ["name      MB", "------------", "a        1.0", "longer  12.5"]
    )
