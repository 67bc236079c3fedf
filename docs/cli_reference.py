"""Writes the reference part of ``docs/cli.md`` from the commands themselves: ``python docs/cli_reference.py``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from jupyter_mlops.cli.main import root

PAGE = Path(__file__).with_name("cli.md")
MARK = "<!-- From here on written by docs/cli_reference.py -->\n"


def updated(page: str) -> str:
    """The text of the page with a fresh reference; what stands before the mark is kept."""
    written, mark, _ = page.partition(MARK)
    return f"{written.rstrip()}\n\n{mark or MARK}\n" + "\n\n".join(sections()) + "\n"


def sections() -> Iterator[str]:
    context = click.Context(root, info_name="jupyter mlops")
    yield section(root, context)
    for name in root.list_commands(context):
        yield from below(root, name, context)


def below(group: click.Group, name: str, parent: click.Context) -> Iterator[str]:
    command = group.get_command(parent, name)
    if command is None:
        raise LookupError(f"the registry names {name!r}, but there is no such command")
    context = click.Context(command, info_name=name, parent=parent)
    if not isinstance(command, click.Group):
        yield section(command, context)
        return
    yield f"## {name}\n\n{text_of(command)}"
    for below_it in command.list_commands(context):
        yield from below(command, below_it, context)


def section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"### `{context.command_path}`", f"`{usage}`", text_of(command)]
    rows = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    table = [f"| `{row[0]}` | {cell(row[1])} |" for row in rows if row is not None]
    if table:
        parts.append("\n".join(["| option | what it does |", "| --- | --- |", *table]))
    return "\n\n".join(parts)


def text_of(command: click.Command) -> str:
    """The help as Markdown. A block after ``\\b`` is set as it stands, as click does."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```" if paragraph.startswith("\b") else paragraph
        for paragraph in paragraphs
    )


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
