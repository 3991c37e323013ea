from __future__ import annotations

from grue.tasks.table_text import Cell, TableText, titles


def cell(value: str, *, header: bool = False, columns: int = 1, rows: int = 1) -> Cell:
    return {"value": value, "is_header": header, "column_span": columns, "row_span": rows}


ROLES = [
    [cell("Year", header=True), cell("Title", header=True), cell("Role", header=True, columns=2)],
    [cell("2001", header=True), cell("Star"), cell("Lead"), cell("x")],
    [cell("2004"), cell("Moon"), cell("Cameo"), cell("y")],
]

CELLS = (
    "<table> <cell> Star <col_header> Title </col_header> <row_header> 2001 </row_header> </cell> "
    "<cell> Lead <col_header> Role </col_header> <row_header> 2001 </row_header> </cell> "
    "<cell> y <col_header> Role </col_header> </cell> </table>"
)
"""Published for the three highlighted cells of the table above."""


def test_highlighted_cells_have_their_headers() -> None:
    assert TableText(ROLES).subtable([(1, 1), (1, 2), (2, 3)]) == CELLS


def test_highlighted_cells_stand_in_the_given_order() -> None:
    assert TableText(ROLES).subtable([(2, 1), (0, 0)]) == (
        "<table> <cell> Moon <col_header> Title </col_header> </cell> <cell> Year </cell> </table>"
    )
    assert TableText(ROLES).subtable([]) == "<table> </table>"


def test_a_whole_table_marks_the_highlighted_cells() -> None:
    table = [[cell("A", header=True), cell("B", header=True)], [cell("1"), cell("2")]]
    assert TableText(table).full_table([(1, 1)]) == (
        "<table> <row> <cell> A </cell> <cell> B <row_header> A </row_header> </cell> </row> "
        "<row> <cell> 1 <col_header> A </col_header> </cell> "
        "<highlighted_cell> 2 <col_header> B </col_header> </highlighted_cell> </row> </table>"
    )


def test_headers_above_are_those_that_share_a_column() -> None:
    """Row spans shift nothing: only the spans of the own row count."""
    table = [
        [cell("wide", header=True, columns=2), cell("plain"), cell("last", header=True)],
        [cell("tall", header=True, rows=2), cell("middle", header=True), cell("no", columns=2)],
        [cell("a"), cell("b", columns=3)],
        [cell("c", columns=3), cell("d")],
    ]
    assert TableText(table).subtable([(2, 1)]) == (
        "<table> <cell> b <col_header> wide </col_header> <col_header> last </col_header> "
        "<col_header> middle </col_header> </cell> </table>"
    )
    assert TableText(table).subtable([(3, 1)]) == (
        "<table> <cell> d <col_header> last </col_header> </cell> </table>"
    )


def test_empty_titles_are_left_out() -> None:
    assert titles("Jane Doe", "") == "<page_title> Jane Doe </page_title> "
    assert titles("", "Films") == "<section_title> Films </section_title> "
    assert titles("", "") == ""
