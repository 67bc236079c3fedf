"""What reaches the terminal: text made harmless, JSON, and a console that knows whether anyone looks at colours."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from jupyter_mlops.core.formats import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Of medium lightness, with a contrast of at least 3 to 1 on white, on black and on the dark greys of editors: a
# terminal's own yellow vanishes on white, its blue on black. One with 16 colours shows those of the same names.
STYLES = {
    "good": "color(28)",
    "bad": "color(196)",
    "failing": "bold color(196)",
    "warning": "color(166)",
    "going": "color(32)",
    "folder": "bold color(32)",
    "key": "color(31)",
    "media": "color(164)",
}
"""Styles by what they mean, for a terminal of either background."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def output_text(text: str) -> str:
    """A program's terminal output as plain lines: colours dropped, overwritten progress lines reduced to the last."""
    plain = _COLOURS.sub("", text).replace("\r\n", "\n")
    return printable("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n")), lines=True)


def console(*, stderr: bool = False) -> Console:
    """Colours only on a terminal (``NO_COLOR`` honoured); elsewhere as wide as the text needs, so nothing is cut."""
    from rich.console import Console
    from rich.theme import Theme

    class Lasting(Console):
        def on_broken_pipe(self) -> None:
            # An error of a file like any other; rich would end the process.
            raise  # noqa: PLE0704 - called where the error is handled

    theme = Theme(STYLES)
    result = Lasting(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False, theme=theme)
    if not result.is_terminal:
        result.width = _UNLIMITED
    return result


_UNLIMITED = 100_000


def put(to: Console, piece: RenderableType) -> None:
    """Print; the spaces with which a table fills its last column are left out where nobody sees colours behind them."""
    if to.is_terminal:
        to.print(piece)
        return
    with to.capture() as captured:
        to.print(piece)
    to.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def emit_json(value: Any) -> None:
    """Print records as one JSON document."""
    click.echo(json_text(value), nl=False)


def json_text(value: Any) -> str:
    """Records as one JSON document. NaN and infinities, which JSON lacks, are the strings ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``, as in MLflow's REST API."""
    return msgspec.json.format(msgspec.json.encode(_finite(msgspec.to_builtins(value))), indent=2).decode() + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def unread() -> contextlib.AbstractContextManager[None]:
    """For what is told beside the work: a terminal or pipe that is gone must not end the work."""
    return contextlib.suppress(OSError)


def note(text: str) -> None:
    """A remark beside the output: on standard error, so that pipes get only the output. Nobody need be there to read
    it."""
    with unread():
        click.secho(printable(text, lines=True), err=True, dim=sys.stderr.isatty())
