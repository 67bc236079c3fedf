"""The docs are true: every command, option and setting is described, and what the docs quote exists and works."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from jupyter_mlops.cli.main import root
from jupyter_mlops.hub.application import MLOpsService
from jupyter_mlops.hub.identity import HubIdentity

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    page: Path
    line: int
    info: list[str]
    body: str


def snippets(*languages: str) -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            info = match["info"].split()
            if info and info[0] in languages:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(Snippet(page, line, info, match["body"]), id=f"{page.name}:{line}"))
    return found


# --- the command line ------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command below the root, with the words that call it."""
    context = click.Context(root)

    def below(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from below(command, f"{words}{name} ")
            else:
                yield words + name, command

    yield from below(root, "")


def test_the_reference_is_what_the_commands_say() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    written = runpy.run_path(str(ROOT / "docs" / "cli_reference.py"))["updated"](page)
    assert page == written, "docs/cli.md is out of date: run python docs/cli_reference.py"
    for words, _ in commands():
        assert f"### `jupyter mlops {words}`" in page


def test_the_table_of_who_may_call_what_is_what_is_enforced() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    written = runpy.run_path(str(ROOT / "docs" / "access_reference.py"))["updated"](page)
    assert page == written, "docs/security.md is out of date: run python docs/access_reference.py"


def test_every_command_explains_itself_and_speaks_json() -> None:
    for words, command in commands():
        assert command.help, words
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert not [option.opts for option in options if not option.help], words
        # What `audit export` writes is JSON in any case.
        assert words in ("completion", "service", "audit export") or any(
            "--json" in option.opts for option in options
        ), words


@pytest.mark.parametrize("snippet", snippets("bash"))
def test_quoted_commands_exist(snippet: Snippet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command lines in the docs parse, down to the last option; nothing is run, and files need not exist."""
    monkeypatch.setattr(click.Command, "invoke", lambda self, ctx: None)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in snippet.body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        where = f"{snippet.page.name}:{snippet.line}: {line}"
        if words[:1] == ["make"]:
            assert set(words[1:]) <= set(targets), where
        elif words[:2] == ["jupyter", "mlops"]:
            arguments = list(takewhile(lambda word: word not in ("|", ">", "&&", "&"), words[2:]))
            result = CliRunner().invoke(root, arguments)
            assert result.exit_code == 0, f"{where}\n{result.output}"


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_environment_variable_is_documented_and_every_documented_one_is_read() -> None:
    word = re.compile(r"\bMLOPS_[A-Z][A-Z_]*\b")
    used = {match for path in (ROOT / "jupyter_mlops").rglob("*.py") for match in word.findall(path.read_text("utf-8"))}
    documented = set(word.findall((ROOT / "docs" / "settings.md").read_text(encoding="utf-8")))
    assert documented == used


def test_every_setting_of_the_service_is_documented_and_every_documented_one_exists() -> None:
    classes = [MLOpsService, HubIdentity]
    own = {f"c.{kind.__name__}.{name}" for kind in classes for name in kind.class_own_traits(config=True)} | {
        "c.MLOpsService.log_level"
    }
    documented = set(
        re.findall(r"^\| `(c\.\w+\.\w+)`", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.MULTILINE)
    )
    assert documented == own
    assert not [
        name for kind in classes for name, trait in kind.class_own_traits(config=True).items() if not trait.help
    ]


# --- Python ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snippet", snippets("python"))
def test_python_snippets_compile(snippet: Snippet) -> None:
    compile("\n" * snippet.line + snippet.body, str(snippet.page), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [param for param in snippets("python") if "run" in param.values[0].info])
def test_python_snippets_run(snippet: Snippet, tmp_path: Path) -> None:
    """A snippet marked ``python run`` runs as it stands, in a process and a store of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", snippet.body],
        cwd=tmp_path,
        env={**os.environ, "MLOPS_HOME": str(tmp_path / "home"), "MLOPS_STRICT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
