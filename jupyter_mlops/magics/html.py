"""Tables that a notebook shows as HTML and a terminal as text. All text is escaped: names are whatever users chose."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

from jupyter_mlops.core.formats import printable


class Row(msgspec.Struct, frozen=True):
    """A line of a table; ``title`` rows head the rows below them."""

    cells: tuple[str, ...]
    is_title: bool = False


class Table:
    """A table with a heading, and remarks below it.

    Parameters
    ----------
    header
        The columns' titles.
    rows
        Each with a cell for each column, or one only, which is a title.
    numeric
        The columns that are aligned to the right.
    remarks
        Lines below the table.
    """

    def __init__(
        self, header: Sequence[str], rows: Sequence[Row], *, numeric: Sequence[int] = (), remarks: Sequence[str] = ()
    ) -> None:
        self.header = header
        self.rows = rows
        self.numeric = frozenset(numeric)
        self.remarks = remarks

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.as_text(), "text/html": self.as_html()}

    def as_html(self) -> str:
        lines = ["<table>", "<thead><tr>", *(self._cell("th", n, text) for n, text in enumerate(self.header))]
        lines.append("</tr></thead>\n<tbody>")
        for row in self.rows:
            if row.is_title:
                span = f'colspan="{len(self.header)}" style="text-align:left"'
                lines.append(f"<tr><th {span}>{_escaped(row.cells[0])}</th></tr>")
            else:
                lines.append(f"<tr>{''.join(self._cell('td', n, text) for n, text in enumerate(row.cells))}</tr>")
        lines.append("</tbody></table>")
        lines += [f"<p>{_escaped(remark)}</p>" for remark in self.remarks]
        return "\n".join(lines)

    def as_text(self) -> str:
        shown = [self.header, *(row.cells for row in self.rows if not row.is_title)]
        texts = [[printable(text) for text in cells] for cells in shown]
        widths = [max(len(cells[n]) for cells in texts) for n in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            aligned = [
                printable(text).rjust(width) if n in self.numeric else printable(text).ljust(width)
                for n, (text, width) in enumerate(zip(cells, widths, strict=True))
            ]
            return "  ".join(aligned).rstrip()

        lines = [line(self.header), "  ".join("-" * width for width in widths)]
        lines += [printable(row.cells[0]) if row.is_title else line(row.cells) for row in self.rows]
        return "\n".join([*lines, *(printable(remark) for remark in self.remarks)])

    def _cell(self, tag: str, column: int, text: str) -> str:
        side = "right" if column in self.numeric else "left"
        return f'<{tag} style="text-align:{side}">{_escaped(text)}</{tag}>'


def _escaped(text: str) -> str:
    return escape(printable(text))
