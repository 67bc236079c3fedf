"""A recorded notebook as text: its cells and what they put out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jupyter_mlops.cli.terminal import STYLES, console, output_text, put
from jupyter_mlops.core import formats
from jupyter_mlops.core.errors import IntegrityError, NotFound
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Run
from jupyter_mlops.core.run_files import EXECUTED, SOURCE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jupyter_mlops.tracker.protocol import Tracker

Notebook = dict[str, Any]
"""A notebook document, format 4, as JSON gives it."""


def fetch(tracker: Tracker, run: Run, *, source: bool) -> bytes:
    """The run's executed notebook, or the exact source; ``NotFound`` when the run recorded none."""
    path = SOURCE if source else EXECUTED
    files = {file.path for file in tracker.artifacts.walk(run.run_id, "notebook")}
    if path not in files:
        hint = "; --source takes what it has: the exact source" if SOURCE in files else ""
        raise NotFound(f"the {run.kind.value} run {run.name} has no {path}{hint}")
    return b"".join(tracker.artifacts.open(run.run_id, path))


def parsed(document: bytes, name: str) -> Notebook:
    """The notebook in ``document``, for reading only: its format is not validated beyond what is needed to show it."""
    try:
        notebook = json.loads(document)
        cells = notebook["cells"]
        if all(isinstance(cell, dict) for cell in cells):
            return dict(notebook)
    except (ValueError, KeyError, TypeError):
        pass
    raise IntegrityError(f"the notebook of {name} is not one of format 4; fetch it as it is with --output FILE")


def show(notebook: Notebook) -> None:
    """Print the cells with their outputs; code is coloured on a terminal."""
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.text import Text

    to = console()
    language = str(notebook.get("metadata", {}).get("language_info", {}).get("name", "python"))
    for position, cell in enumerate(notebook["cells"], 1):
        heading = Text(f"{position} ", style="dim")
        heading.append(printable(_kind(cell)))
        if to.is_terminal:
            to.print(Rule(heading, align="left", style="dim"))
        else:
            to.print(heading)
        source = output_text(joined(cell.get("source", "")))
        if source:
            put(to, Padding(_coloured(source, language, cell, to.is_terminal), (0, 0, 0, 2), expand=False))
        for output in _outputs(cell):
            to.print()
            put(to, Padding(output, (0, 0, 0, 2), expand=False))
        to.print()


def joined(text: object) -> str:
    """Text that a notebook may keep as a list of lines."""
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def _kind(cell: dict[str, Any]) -> str:
    words = [str(cell.get("cell_type", "cell"))]
    if cell.get("execution_count") is not None:
        words.append(f"In [{cell['execution_count']}]")
    tags = cell.get("metadata", {}).get("tags", [])
    return " ".join(words + [f"#{tag}" for tag in tags])


def _coloured(source: str, language: str, cell: dict[str, Any], on_terminal: bool) -> RenderableType:
    from rich.text import Text

    if cell.get("cell_type") != "code" or not on_terminal:
        return Text(source)
    from pygments.token import Comment, Keyword, Name, Number, Operator, String  # type: ignore[import-untyped]
    from rich.style import Style
    from rich.syntax import ANSISyntaxTheme, Syntax

    colours = {
        Comment: Style(dim=True),
        Keyword: Style.parse(STYLES["media"]),
        Operator.Word: Style.parse(STYLES["media"]),
        Name.Function: Style(bold=True),
        Name.Class: Style(bold=True),
        Number: Style.parse(STYLES["key"]),
        String: Style.parse(STYLES["good"]),
    }
    return Syntax(source, language, theme=ANSISyntaxTheme(colours), background_color="default", word_wrap=True)


def _outputs(cell: dict[str, Any]) -> Iterator[RenderableType]:
    from rich.text import Text

    for output in cell.get("outputs", []):
        kind = output.get("output_type")
        if kind == "stream":
            style = "warning" if output.get("name") == "stderr" else ""
            yield Text(output_text(joined(output.get("text", ""))).rstrip("\n"), style=style)
        elif kind == "error":
            traceback = "\n".join(map(str, output.get("traceback", [])))
            said = ": ".join(filter(None, (output.get("ename"), output.get("evalue"))))
            yield Text(output_text(traceback or said), style="bad")
        else:
            yield from _display(output.get("data", {}))


def _display(data: dict[str, Any]) -> Iterator[RenderableType]:
    from rich.text import Text

    for mime, content in data.items():
        if mime.startswith("image/"):
            # Base64 holds three bytes in four characters; SVG is text.
            length = len(joined(content)) * (1 if mime.startswith("image/svg") else 3 / 4)
            yield Text(f"[{printable(mime)}, {formats.size(round(length))}]", style="media")
    if "text/plain" in data:
        yield Text(output_text(joined(data["text/plain"])))
    elif not any(mime.startswith("image/") for mime in data):
        yield Text(f"[{printable(', '.join(data))}]", style="media")
