"""Tokens that a service issues for a while: what they reach, and when they count no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.credentials import token_digest
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound, PermissionDenied, Unauthenticated
from jupyter_mlops.core.formats import now
from jupyter_mlops.core.issued import LONGEST_SECONDS, MOST_AT_ONCE, lessened
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import issuedtokens
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.issuedtokens import Issued
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running, running


@pytest.fixture
def service(sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as started:
        yield started


def test_it_writes_for_who_asked_and_does_no_more(service: Running) -> None:
    lead = Principal("ann", frozenset({"red"}), Scope.ADMIN)
    own = RemoteTracker(service.url, service.token_of(lead))
    experiment = own.experiments.create("e", owner="group:red")
    theirs = own.experiments.create("theirs", owner="bo")
    issued = own.issue_token(60)
    worker = RemoteTracker(service.url, issued.token)

    run = worker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    assert own.runs.get(run.run_id).run_id == run.run_id
    principal = worker.principal
    assert (principal.name, principal.groups, principal.scope) == ("ann", {"red"}, Scope.WRITE)
    assert not principal.decides
    assert principal.expires == issued.expires
    with pytest.raises(NotFound):
        worker.experiments.get(theirs.experiment_id)
    with pytest.raises(PermissionDenied):
        worker.gc()
    # It makes itself last no longer.
    assert worker.issue_token(3600).expires == issued.expires
    for seconds in (0, LONGEST_SECONDS + 1):
        with pytest.raises(InvalidValue, match="seconds"):
            own.issue_token(seconds)
    with pytest.raises(Unauthenticated, match="expired"):
        _ = RemoteTracker(service.url, issued.token + "x").principal


def test_who_reads_only_asks_for_none(service: Running) -> None:
    reader = RemoteTracker(service.url, service.token("bo", scope="read"))
    with pytest.raises(PermissionDenied):
        reader.issue_token()


def test_it_ends_and_is_forgotten(database: Database) -> None:
    principal = lessened(Principal("ann"), 60, 0)
    with database.write() as connection:
        issuedtokens.add(connection, "a" * 64, Issued(principal=principal, expires=60_000), 0)
        assert issuedtokens.find(connection, "a" * 64, 59_999) == Issued(principal=principal, expires=60_000)
        assert issuedtokens.find(connection, "a" * 64, 60_000) is None
        issuedtokens.add(connection, "b" * 64, Issued(principal=principal, expires=90_000), 60_000)
        assert issuedtokens.find(connection, "a" * 64, 0) is None
        assert issuedtokens.find(connection, "b" * 64, 60_000) is not None


def test_a_group_that_was_left_is_reached_no_more(sqlite_url: str) -> None:
    member = Principal("ann", frozenset({"red", "blue"}))
    with connect(sqlite_url, principal=member) as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        digest = token_digest(tracker.issue_token(60).token)
        tracker.ask_members(lambda group: frozenset({"bo"}) if group == "red" else None)
        found = tracker.principal_of_issued(digest)
    assert found is not None
    assert found.groups == {"blue"}


def test_a_check_gives_itself_no_longer_time() -> None:
    with pytest.raises(PermissionDenied, match="gives no others"):
        lessened(Principal("check:1"), 60, 0)


def test_it_counts_no_longer_than_the_token_of_a_file(service: Running) -> None:
    ends = now() + 60_000
    own = RemoteTracker(service.url, service.token("ann", expires=ends))
    assert own.principal.expires == ends
    assert own.issue_token(3600).expires == ends


def test_who_has_it_revokes_it(service: Running) -> None:
    own = RemoteTracker(service.url, service.token("ann"))
    kept, dropped = own.issue_token(), own.issue_token()
    own.revoke_token(dropped.token)
    own.revoke_token(dropped.token)
    own.revoke_token("no token")
    with pytest.raises(Unauthenticated):
        _ = RemoteTracker(service.url, dropped.token).principal
    assert RemoteTracker(service.url, kept.token).principal.name == "ann"
    assert [entry.action for entry in own.audit()] == ["token.revoke", "token.issue", "token.issue"]


@pytest.fixture
def store(sqlite_url: str, tmp_path: Path) -> Iterator[EmbeddedTracker]:
    with connect(
        sqlite_url, artifacts=tmp_path / "artifacts", principal=Principal("boss", scope=Scope.ADMIN)
    ) as opened:
        assert isinstance(opened, EmbeddedTracker)
        opened.ask_members(lambda _: frozenset({"ann"}))
        yield opened


def test_what_is_issued_to_an_access_token_reaches_its_group_and_ends_with_it(store: EmbeddedTracker) -> None:
    ann = store.acting_for(Principal("ann", frozenset({"red"})))
    nightly = ann.access_tokens.create("nightly", owner="group:red")
    assert nightly.secret is not None
    ci = store.principal_of_access_token(token_digest(nightly.secret))
    assert ci is not None
    digest = token_digest(store.acting_for(ci).issue_token().token)
    found = store.principal_of_issued(digest)
    assert found is not None
    # It is no member of the group, as nobody else of its name is.
    assert (found.groups, found.acts_for) == ({"red"}, "ann")
    ann.access_tokens.revoke(nightly.token_id)
    assert store.principal_of_issued(digest) is None


@pytest.mark.parametrize("gone", ["ann", "group:red"])
def test_nothing_of_who_has_left_counts(store: EmbeddedTracker, gone: str) -> None:
    ann = store.acting_for(Principal("ann", frozenset({"red"}), default_owner="group:red"))
    secret = ann.access_tokens.create("nightly", owner="group:red").secret
    assert secret is not None
    ci = store.principal_of_access_token(token_digest(secret))
    assert ci is not None
    digests = [token_digest(each.issue_token().token) for each in (ann, store.acting_for(ci))]
    store.people.offboard(gone, "zoe")
    assert [store.principal_of_issued(digest) for digest in digests] == [None, None]


def test_nobody_fills_the_store_with_them(store: EmbeddedTracker) -> None:
    ann, bo = (store.acting_for(Principal(name)) for name in ("ann", "bo"))
    tokens = [ann.issue_token().token for _ in range(MOST_AT_ONCE)]
    with pytest.raises(Conflict, match="'ann' has 100 issued tokens"):
        ann.issue_token()
    bo.issue_token()
    ann.revoke_token(tokens[0])
    ann.issue_token()


def test_an_access_token_reads_where_nothing_can_be_written(store: EmbeddedTracker) -> None:
    """A deployment gets its model then, too."""
    token = store.access_tokens.create("deployment")
    assert token.secret is not None
    with store.database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON access_token BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    found = store.principal_of_access_token(token_digest(token.secret))
    assert found is not None
    assert found.token_id == token.token_id
