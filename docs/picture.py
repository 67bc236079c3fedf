"""Draws ``docs/terminal.svg``, the picture in the README, from what the commands really print after ``make demo``.

Run it with the environment of the demo: ``.venv/bin/python docs/picture.py``.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
ENVIRONMENT = {
    **os.environ,
    "MLOPS_HOME": str(ROOT / ".demo"),
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "TERM": "xterm-256color",
    "COLUMNS": str(WIDTH),
}
# Fonts of the reader's own: a picture in a repository fetches nothing.
PLAIN = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
PLAIN = re.sub(r"<!--.*?-->", "", PLAIN, flags=re.DOTALL).replace("Fira Code", "ui-monospace, Menlo, Consolas")


def on_a_terminal(command: str) -> str:
    """What a command prints when it believes that somebody looks."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(shlex.split(command), cwd=ROOT, env=ENVIRONMENT, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                # Linux says so when the other end is closed.
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    if process.returncode != 0:
        sys.exit(f"{command} ended with status {process.returncode}:\n{shown.decode()}")
    return shown.decode().replace("\r\n", "\n")


def main() -> None:
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    for command in (
        "jupyter mlops runs list",
        "jupyter mlops runs list --order-by metrics.valid_loss --limit 5",
        "jupyter mlops models show breast-cancer",
        "python examples/predict.py",
    ):
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text.from_ansi(on_a_terminal(command)), "")
    picture = console.export_svg(title="jupyter mlops", code_format=PLAIN, unique_id="terminal")
    Path(ROOT / "docs" / "terminal.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
