"""Options and arguments that several commands share, with their completion in the shell."""

from __future__ import annotations

import io
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.core.errors import InvalidValue, MLOpsError, NotFound
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import View
from jupyter_mlops.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from jupyter_mlops.core.records import Experiment, Page, Run
    from jupyter_mlops.tracker.protocol import Tracker

T = TypeVar("T")
FC = TypeVar("FC", bound="Callable[..., Any] | click.Command")

OFFERED = 200
"""How many of the newest runs completion looks through."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def limit_option(default: int) -> Callable[[FC], FC]:
    return click.option(
        "--limit",
        "-n",
        type=click.IntRange(1, 1_000_000_000),
        default=default,
        show_default=True,
        metavar="N",
        help="Show at most this many.",
    )


class _Named(click.ParamType[str], ABC):
    """A name that the store knows; checked by the command, completed here."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        root = ctx.find_root().params
        try:
            with Connection(root.get("url"), root.get("artifacts")).connect() as tracker:
                # A shell would obey or split what is not plain.
                offers = [(name, about) for name, about in self.offers(tracker) if name == printable(name)]
        except (MLOpsError, OSError):
            # There is nobody to tell: the shell shows nothing but candidates.
            return []
        return [CompletionItem(name, help=about) for name, about in offers if name.startswith(incomplete)]

    @abstractmethod
    def offers(self, tracker: Tracker) -> Iterator[tuple[str, str]]:
        """The names there are, each with what is said about it."""


class RunName(_Named):
    """A run, by its name or by a prefix of its id. Names are offered; ids once one was begun."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, param, incomplete)
        if incomplete and set(incomplete) <= set("0123456789abcdef"):
            return found
        return [item for item in found if not _is_id(item.value)]

    def offers(self, tracker: Tracker) -> Iterator[tuple[str, str]]:
        for run in tracker.runs.search(limit=OFFERED).items:
            yield run.name, f"{run.status.value.lower()} {printable(run.source)}".rstrip()
            yield run.run_id, printable(run.name)


class ExperimentName(_Named):
    name = "experiment"

    def offers(self, tracker: Tracker) -> Iterator[tuple[str, str]]:
        for experiment in tracker.experiments.search().items:
            yield experiment.name, f"{experiment.runs} runs"


class ModelName(_Named):
    name = "model"

    def offers(self, tracker: Tracker) -> Iterator[tuple[str, str]]:
        for model in tracker.models.search().items:
            yield model.name, ", ".join(alias.alias for alias in model.aliases)


def _is_id(text: str) -> bool:
    from jupyter_mlops.core.ids import is_id

    return is_id(text)


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone, unless ``--yes`` was said."""
    if yes:
        return
    try:
        agreed = click.confirm(printable(question), err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        agreed = False
    if not agreed:
        raise click.ClickException("not confirmed, so nothing was done; --yes goes ahead without asking")


def given_text(source: Path | str) -> str:
    """The text of a file, or with ``-`` that of standard input; ``InvalidValue`` when that is not in UTF-8."""
    name = "standard input" if str(source) == "-" else str(source)
    content = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{name} is no text in UTF-8: {error.reason} at {error.start}") from error


def find_experiment(tracker: Tracker, text: str) -> Experiment:
    """The experiment named ``text``, or with that id."""
    try:
        return tracker.experiments.find(text)
    except NotFound as error:
        if _is_id(text):
            return tracker.experiments.get(text)
        names = [experiment.name for experiment in tracker.experiments.search().items]
        hint = did_you_mean(text, names) or "; jupyter mlops experiments list shows those that there are"
        raise NotFound(error.message + hint) from error


def find_deleted(tracker: Tracker, text: str) -> Run:
    """The deleted run that ``text`` names, as :meth:`Runs.resolve` finds the active ones."""
    if _is_id(text):
        return tracker.runs.get(text)
    filters = [f"attributes.name = {quoted(text)}"]
    if re.fullmatch("[0-9a-f]{4,}", text):
        filters.append(f"attributes.run_id LIKE '{text}%'")
    pages = [tracker.runs.search((), filter, view=View.DELETED, limit=10) for filter in filters]
    found = {run.run_id: run for page in pages for run in page.items}
    if not found:
        raise NotFound(f"no deleted run is called {text!r}, and no deleted run's id begins like that")
    if len(found) > 1:
        listed = ", ".join(f"{run.run_id} ({run.name})" for run in found.values())
        raise InvalidValue(f"{text!r} may be any of {listed}: write more of the id")
    return next(iter(found.values()))


def quoted(text: str) -> str:
    """``text`` as a string of the filter grammar."""
    return "'" + text.replace("'", "''") + "'"


def paged(fetch: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """All items of a listing, page by page, as far as they are asked for."""
    token: str | None = None
    while True:
        page = fetch(token)
        yield from page.items
        token = page.next_page_token
        if token is None:
            return


def assignments(texts: Iterable[str], what: str) -> dict[str, str]:
    """``KEY=VALUE`` words as a mapping."""
    result = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidValue(f"{what} {text!r} is not of the form KEY=VALUE")
        result[key] = value
    return result
