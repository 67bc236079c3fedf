"""``jupyter mlops promote`` and ``jupyter mlops requests``: asking for promotion, and deciding about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import click

from jupyter_mlops.cli import requestchecks
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import ModelName, confirm, json_option, limit_option, paged, yes_option
from jupyter_mlops.cli.terminal import emit_json, note
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.ids import is_id

if TYPE_CHECKING:
    from jupyter_mlops.core.pages import ServicePage
    from jupyter_mlops.core.promotion import Promotion, PromotionEvidence
    from jupyter_mlops.tracker.protocol import Tracker

SHORT = 12
"""Digits of a request's id that are shown, and are enough to name it."""

MOST_USERS = 10
"""Who loads what is rolled back: those that are named."""

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
needed_reason = click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the history.")


@click.command()
@click.argument("name", type=ModelName())
@click.argument("version")
@click.option("--alias", default="production", show_default=True, metavar="ALIAS", help="The alias to move.")
@reason_option
@json_option
@click.pass_obj
def promote(connection: Connection, *, name: str, version: str, alias: str, reason: str, as_json: bool) -> None:
    """Ask to point an alias of the model NAME at VERSION (a number, or `latest`).

    An alias that is not protected moves at once. A protected one moves when the policy is met: `jupyter mlops policy
    show NAME` says what that takes.
    """
    from jupyter_mlops.tracker.pages import with_page

    tracker = connection.tracker
    number = tracker.models.resolve(name, version).version
    made = with_page(tracker, tracker.promotions.request(name, number, alias=alias, reason=reason))
    if as_json:
        emit_json(made)
    else:
        _tell(made)


@click.group()
def requests() -> None:
    """Requests for promotion: read, decide, roll back.

    REQUEST is the id of one, or its beginning.
    """


requests.add_command(requestchecks.check)
requests.add_command(requestchecks.report)


@requests.command("list")
@click.option("--model", metavar="NAME", help="Of this model only.")
@click.option("--all", "everything", is_flag=True, help="Those that are closed, too.")
@limit_option(50)
@json_option
@click.pass_obj
def list_(connection: Connection, *, model: str | None, everything: bool, limit: int, as_json: bool) -> None:
    """List requests, newest first."""
    door = connection.tracker.promotions
    state = None if everything else "open"
    found = list(islice(paged(lambda token: door.search(model=model, state=state, page_token=token)), limit + 1))
    shown = found[:limit]
    if as_json:
        emit_json(shown)
    elif shown:
        _show_all(shown)
    else:
        note("No requests." if everything else "No open requests; --all lists those that are closed.")
    if len(found) > limit:
        note(f"There are more than {limit}: raise --limit to see them.")


def _show_all(found: list[Promotion]) -> None:
    from jupyter_mlops.cli.tables import Column, cells, show
    from jupyter_mlops.core import formats

    now = formats.now()
    show(
        [
            Column(header="id", cells=cells([each.request_id[:SHORT] for each in found])),
            Column(header="model", cells=cells([f"{each.model}@{each.alias}" for each in found], "bold"), least=20),
            Column(header="version", cells=cells([_versions(each) for each in found])),
            Column(header="state", cells=cells([_state(each) for each in found])),
            Column(header="asked", cells=cells([formats.relative(e.created, reference=now) for e in found]), rank=2),
            Column(header="by", cells=cells([each.requester for each in found]), rank=1),
            Column(header="missing", cells=cells(["; ".join(e.missing) for e in found], "dim"), least=20, rank=3),
            Column(header="reason", cells=cells([each.reason for each in found], "dim"), least=20, rank=4),
        ]
    )


@requests.command()
@json_option
@click.pass_obj
def waiting(connection: Connection, *, as_json: bool) -> None:
    """What waits for you: requests to decide about, and where you are mentioned and have not answered."""
    found = connection.tracker.promotions.waiting()
    if as_json:
        emit_json(found)
        return
    if found.decide:
        _show_all(list(found.decide))
    for each in found.mentions:
        click.echo(
            printable(f"{each.request_id[:SHORT]} {each.model}@{each.alias}, {each.user} mentions you: {each.text}")
        )
    if not found.decide and not found.mentions:
        note("Nothing waits for you.")
    if found.more:
        note("There are more open requests than were looked at: jupyter mlops requests list has all.")


@requests.command()
@click.argument("request")
@json_option
@click.pass_obj
def show(connection: Connection, *, request: str, as_json: bool) -> None:
    """Show all that a reviewer needs: the candidate beside the champion, the checks, what was said, what is missing."""
    from jupyter_mlops.tracker.pages import with_page

    found = connection.tracker.promotions.evidence(resolved(connection.tracker, request))
    if as_json:
        emit_json(found)
    else:
        _show_evidence(with_page(connection.tracker, found.promotion), found)


def _show_evidence(request: Promotion, found: PromotionEvidence) -> None:
    from jupyter_mlops.cli import tables
    from jupyter_mlops.core import formats

    click.secho(printable(f"{request.model}@{request.alias}: {_versions(request)}"), bold=True)
    facts = {
        "request": request.request_id,
        "state": f"{_state(request)}{f': {request.outcome}' if request.outcome else ''}",
        "asked by": request.requester,
        "author": ", ".join(request.authors),
        "reason": request.reason,
        "asked": formats.moment(request.created),
        "lives until": formats.moment(request.expires),
        "lineage": " → ".join(found.lineage),
        "page": request.page or "",
    }
    if found.candidate is not None:
        facts["size"] = formats.size(found.candidate.version.size)
    tables.show_pairs({key: value for key, value in facts.items() if value})
    for line in request.missing:
        click.echo(printable(f"missing: {line}"))
    for check in request.checks:
        if check.result is None:
            click.echo(printable(f"check {check.rule.name}: waiting"))
        else:
            own = f" (self-reported by {check.result.reported_by})" if check.result.self_reported else ""
            click.echo(printable(f"check {check.rule.name}: {check.result.verdict.value}, {check.result.summary}{own}"))
    for review in request.reviews:
        click.echo(printable(f"{review.user}: {review.verdict.value} {review.reason}".rstrip()))
    for comment in request.comments:
        click.echo(printable(f"{comment.user}: {comment.text}"))
    if found.comparison is not None:
        for row in found.comparison.rows:
            if row.differs or row.group == "metrics":
                texts = " → ".join("none" if text is None else text for text in row.texts)
                click.echo(printable(f"{row.group} {row.name}: {texts}"))
    if found.notebook_changes is not None and found.notebook_changes.note:
        click.echo(printable(f"notebooks: {found.notebook_changes.note}"))
    if found.notebook_diff:
        click.echo(printable(found.notebook_diff, lines=True))


@requests.command()
@click.argument("request")
@reason_option
@json_option
@click.pass_obj
def approve(connection: Connection, *, request: str, reason: str, as_json: bool) -> None:
    """Approve. When the policy is met by it, the alias moves with it."""
    request_id = resolved(connection.tracker, request)
    with _deciding(connection, lambda page: page.of_request(request_id)):
        done = connection.tracker.promotions.approve(request_id, reason=reason)
    _answer(done, as_json)


@requests.command()
@click.argument("request")
@needed_reason
@json_option
@click.pass_obj
def reject(connection: Connection, *, request: str, reason: str, as_json: bool) -> None:
    """Close a request for a reason."""
    request_id = resolved(connection.tracker, request)
    with _deciding(connection, lambda page: page.of_request(request_id)):
        done = connection.tracker.promotions.reject(request_id, reason=reason)
    _answer(done, as_json)


@requests.command()
@click.argument("request")
@needed_reason
@json_option
@click.pass_obj
def changes(connection: Connection, *, request: str, reason: str, as_json: bool) -> None:
    """Ask for changes: it is not promoted until it is refreshed, or you approve."""
    request_id = resolved(connection.tracker, request)
    with _deciding(connection, lambda page: page.of_request(request_id)):
        done = connection.tracker.promotions.request_changes(request_id, reason=reason)
    _answer(done, as_json)


@requests.command()
@click.argument("request")
@click.argument("text")
@json_option
@click.pass_obj
def comment(connection: Connection, *, request: str, text: str, as_json: bool) -> None:
    """Say something about a request; @NAME mentions a user."""
    done = connection.tracker.promotions.comment(resolved(connection.tracker, request), text)
    _answer(done, as_json)


@requests.command()
@click.argument("request")
@json_option
@click.pass_obj
def refresh(connection: Connection, *, request: str, as_json: bool) -> None:
    """Ask again, against what the alias points at now: reviews and checks begin anew."""
    done = connection.tracker.promotions.refresh(resolved(connection.tracker, request))
    _answer(done, as_json)


@requests.command()
@click.argument("request")
@reason_option
@json_option
@click.pass_obj
def withdraw(connection: Connection, *, request: str, reason: str, as_json: bool) -> None:
    """Close a request of your own."""
    done = connection.tracker.promotions.withdraw(resolved(connection.tracker, request), reason=reason)
    _answer(done, as_json)


def _users(tracker: Tracker, name: str, alias: str) -> str:
    """Who loads a model by an alias, and what for, as far as the caller may know it; the last first."""
    found = (each for each in tracker.models.consumers(name) if each.reference == f"@{alias}")
    told = list(dict.fromkeys(f"{each.user} ({each.purpose})" if each.purpose else each.user for each in found))
    more = f" and {len(told) - MOST_USERS} more" if len(told) > MOST_USERS else ""
    return ", ".join(map(printable, told[:MOST_USERS])) + more


@requests.command()
@click.argument("name", type=ModelName())
@click.argument("alias")
@needed_reason
@yes_option
@json_option
@click.pass_obj
def rollback(connection: Connection, *, name: str, alias: str, reason: str, yes: bool, as_json: bool) -> None:
    """Point ALIAS of the model NAME at the version before, at once; two rollbacks go two versions back."""
    from jupyter_mlops.core.promotion import PromotionKind, restorable

    door = connection.tracker.promotions
    periods = list(enumerate(door.history(name, alias)))
    back = {n for n, each in periods if each.promotion and each.promotion.kind is PromotionKind.ROLLBACK}
    before = restorable([(n, each.move) for n, each in periods], back)
    if not before:
        raise NotFound(f"{name}@{alias} has no version before this one to go back to")
    now = periods[-1][1].move.version
    is_now = f"is version {now}" if now is not None else "is not set"
    if users := _users(connection.tracker, name, alias):
        note(f"{name}@{alias} is loaded by {users}.")
    confirm(f"{name}@{alias} {is_now}. Go back to version {before[-1]}?", yes)
    with _deciding(connection, lambda page: page.of_model(name)):
        done = door.rollback(name, alias, reason=reason, to=before[-1])
    _answer(done, as_json)


@requests.command()
@click.argument("name", type=ModelName())
@click.argument("alias")
@click.argument("version", required=False, type=int)
@click.option("--remove", is_flag=True, help="Take the alias away.")
@needed_reason
@yes_option
@json_option
@click.pass_obj
def override(
    connection: Connection,
    *,
    name: str,
    alias: str,
    version: int | None,
    remove: bool,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Point ALIAS of the model NAME at VERSION whatever the policy says: for administrators, in an emergency. It is on
    record."""
    if (version is None) != remove:
        raise click.UsageError("Give either VERSION or --remove.")
    target = "nothing" if version is None else f"version {version}"
    confirm(f"Point {name}@{alias} at {target} against the policy?", yes)
    with _deciding(connection, lambda page: page.of_model(name)):
        done = connection.tracker.promotions.override(name, alias, version=version, reason=reason)
    _answer(done, as_json)


# --- shared ----------------------------------------------------------------------------------------------------------


@contextmanager
def _deciding(connection: Connection, place: Callable[[ServicePage], str]) -> Iterator[None]:
    """Tell who has no token for deciding where they can decide."""
    try:
        yield
    except PermissionDenied as error:
        tracker = connection.tracker
        page = None if tracker.principal.decides else tracker.page()
        if page is None:
            raise
        raise PermissionDenied(f"{error.message}: {place(page)}") from error


def resolved(tracker: Tracker, text: str) -> str:
    """The id of the request that ``text`` names: an id, or the beginning of the only one that begins so."""
    if is_id(text):
        return text
    recent = [each.request_id for each in tracker.promotions.search(limit=1000).items]
    found = [id for id in recent if text and id.startswith(text)]
    if len(found) != 1:
        raise InvalidValue(
            f"{text!r} begins the ids of {len(found)} requests: write more of the id"
            if found
            else f"no request's id begins with {text!r}; jupyter mlops requests list --all shows those there are"
        )
    return found[0]


def _answer(done: Promotion, as_json: bool) -> None:
    if as_json:
        emit_json(done)
    else:
        _tell(done)


def _tell(done: Promotion) -> None:
    """What a request has come to, in a sentence or two."""
    from jupyter_mlops.core.promotion import PromotionState

    if done.state is PromotionState.PROMOTED:
        now = f"is version {done.version} now" if done.version is not None else "is gone"
        was = f"; it was version {done.champion}" if done.champion is not None else ""
        click.echo(printable(f"{done.model}@{done.alias} {now}{was}."))
        return
    click.echo(printable(f"Request {done.request_id[:SHORT]} for {done.model}@{done.alias} is {_state(done)}."))
    for line in done.missing:
        click.echo(printable(f"missing: {line}"))
    if done.page is not None:
        click.echo(printable(done.page))


def _versions(request: Promotion) -> str:
    before, after = (f"{each}" if each is not None else "none" for each in (request.champion, request.version))
    return f"{before} → {after}"


def _state(request: Promotion) -> str:
    from jupyter_mlops.core.promotion import PromotionKind

    return request.state.value if request.kind is PromotionKind.REQUEST else request.kind.value
