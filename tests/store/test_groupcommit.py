from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import Conflict, InvalidValue, StorageFull, Unavailable
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.groupcommit import MOST_CALLS, Call, GroupCommit
from tests import postgres

WAIT = 30


class Put(Call):
    def __init__(self, number: int, bad: bool = False) -> None:
        super().__init__()
        self.number = number
        self.bad = bad


class Writer:
    """Writes numbers; the first transaction waits until it is told to go on."""

    def __init__(self, database: Database) -> None:
        self.groups: list[list[int]] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.group = GroupCommit[Put](database, self.apply, lambda: None)

    def apply(self, connection: Connection, calls: Sequence[Put]) -> None:
        self.groups.append([call.number for call in calls])
        if not self.entered.is_set():
            self.entered.set()
            assert self.go_on.wait(WAIT)
        rows = [{"key": str(call.number), "value": "x"} for call in calls]
        connection.execute(sa.insert(schema.setting), rows)
        for call in calls:
            if call.bad:
                raise InvalidValue(f"{call.number} is bad")
            call.result = -call.number


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    yield writer
    writer.go_on.set()
    writer.group.close()


def written(database: Database) -> set[int]:
    with database.read() as connection:
        return {int(key) for key in connection.execute(sa.select(schema.setting.c.key)).scalars()}


def submit_while_first_waits(writer: Writer, calls: Sequence[Put]) -> list[BaseException | None]:
    """What became of each call; all but the first are submitted while the first one's transaction is open."""

    def submit(call: Put) -> BaseException | None:
        try:
            writer.group.submit(call)
        except Exception as error:  # noqa: BLE001
            return error
        return None

    with ThreadPoolExecutor(len(calls)) as pool:
        first = pool.submit(submit, calls[0])
        assert writer.entered.wait(WAIT)
        rest = [pool.submit(submit, call) for call in calls[1:]]
        wait_until(lambda: writer.group._queue.qsize() == len(rest))
        writer.go_on.set()
        return [future.result(WAIT) for future in (first, *rest)]


def wait_until(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(WAIT * 1000):
        if condition():
            return
        done.wait(0.001)
    raise AssertionError("it never happened")


def test_calls_that_arrive_during_a_commit_share_the_next(writer: Writer, database: Database) -> None:
    calls = [Put(number) for number in range(1, 21)]
    assert submit_while_first_waits(writer, calls) == [None] * 20
    assert [len(group) for group in writer.groups] == [1, 19]
    assert written(database) == set(range(1, 21))
    assert [call.result for call in calls] == [-number for number in range(1, 21)]


def test_a_bad_call_hurts_only_itself(writer: Writer, database: Database) -> None:
    calls = [Put(number, bad=number in (3, 5)) for number in range(1, 8)]
    outcomes = submit_while_first_waits(writer, calls)
    assert [type(outcome) for outcome in outcomes] == [
        InvalidValue if number in (3, 5) else type(None) for number in range(1, 8)
    ]
    assert str(outcomes[2]) == "3 is bad"
    assert written(database) == {1, 2, 4, 6, 7}


@pytest.mark.parametrize("error", [StorageFull("no room"), Unavailable("away"), RuntimeError("a mistake")])
def test_what_is_due_by_itself_and_fails_keeps_nobody_waiting(database: Database, error: Exception) -> None:
    attempts = 0

    def apply(connection: Connection, calls: Sequence[Put]) -> None:
        nonlocal attempts
        rows = [{"key": str(call.number), "value": "x"} for call in calls]
        if rows:
            connection.execute(sa.insert(schema.setting), rows)
            return
        attempts += 1
        # So often that a writer which does nothing else is found out, and ends.
        if attempts < 500:
            raise error

    group = GroupCommit[Put](database, apply, lambda: 0.0)
    began = time.monotonic()
    for number in range(100):
        group.submit(Put(number))
    wait_until(lambda: attempts > 0)
    for number in range(100, 200):
        group.submit(Put(number))
    group.close()
    assert written(database) == set(range(200))
    # Once a second at most, and once more at the end; where a connection may have been lost, twice each time.
    assert attempts <= 2 * (2 + time.monotonic() - began)


def test_what_apply_gives_is_called_once_the_calls_are_durable(database: Database) -> None:
    noted: list[list[int]] = []

    def apply(connection: Connection, calls: Sequence[Put]) -> Callable[[], None]:
        numbers = [call.number for call in calls]
        connection.execute(sa.insert(schema.setting), [{"key": str(number), "value": "x"} for number in numbers])

        def note() -> None:
            assert written(database) >= set(numbers)
            noted.append(numbers)

        if any(call.bad for call in calls):
            # Found only by the commit.
            connection.execute(sa.text("SELECT nothing"))
        return note

    group = GroupCommit[Put](database, apply, lambda: None)
    group.submit(Put(1))
    with pytest.raises(sa.exc.DBAPIError):
        group.submit(Put(2, bad=True))
    group.submit(Put(3))
    group.close()
    assert noted == [[1], [3]]


def test_a_group_is_bounded(writer: Writer, database: Database) -> None:
    calls = [Put(number) for number in range(MOST_CALLS + 20)]
    submit_while_first_waits(writer, calls)
    assert [len(group) for group in writer.groups] == [1, MOST_CALLS, 19]
    assert len(written(database)) == MOST_CALLS + 20


def test_a_lone_call_is_answered_when_it_is_durable(writer: Writer, database: Database) -> None:
    writer.go_on.set()
    for number in range(5):
        writer.group.submit(Put(number))
        assert number in written(database)
    assert writer.groups == [[number] for number in range(5)]


def test_closing_writes_what_was_submitted_and_refuses_the_rest(writer: Writer, database: Database) -> None:
    outcomes = submit_while_first_waits(writer, [Put(1), Put(2)])
    writer.group.close()
    assert outcomes == [None, None]
    with pytest.raises(Conflict, match="closed"):
        writer.group.submit(Put(3))
    assert written(database) == {1, 2}


def test_a_writer_that_could_not_begin_is_tried_again(
    writer: Writer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that may have so many threads: who calls next must not wait for one that never began."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(Unavailable, match="can't start new thread"):
            writer.group.submit(Put(1))
    writer.go_on.set()
    thread = threading.Thread(target=writer.group.submit, args=(Put(2),), daemon=True)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert written(database) == {2}


def test_what_is_due_is_applied_without_a_call(database: Database) -> None:
    applied = threading.Event()
    due: list[float] = []

    def apply(connection: Connection, calls: Sequence[Put]) -> None:
        if calls:
            due.append(0.01)
        else:
            due.clear()
            applied.set()

    group = GroupCommit[Put](database, apply, lambda: due[0] if due else None)
    group.submit(Put(1))
    assert applied.wait(WAIT)
    group.close()


def test_a_lost_connection_is_made_again(postgres_server: postgres.Server, postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        schema.metadata.create_all(connection)
    writer = Writer(database)
    killer = sa.create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(writer.group.submit, Put(1))
        assert writer.entered.wait(WAIT)
        with killer.connect() as connection:
            name = sa.make_url(postgres_url).database
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            assert connection.exec_driver_sql(query, (name,)).scalar()
        writer.go_on.set()
        submitted.result(WAIT)
    assert writer.groups == [[1], [1]]
    assert written(database) == {1}
    writer.group.close()
    database.close()
    killer.dispose()


def test_a_server_that_stays_away_is_told(database: Database) -> None:
    attempts: list[int] = []

    def apply(connection: Connection, calls: Sequence[Put]) -> None:
        attempts.append(len(calls))
        raise Unavailable("gone")

    group = GroupCommit[Put](database, apply, lambda: None)
    with pytest.raises(Unavailable, match="gone"):
        group.submit(Put(1))
    # SQLite has waited long enough by itself.
    assert attempts == ([1] if database.is_sqlite else [1, 1])
    group.close()
