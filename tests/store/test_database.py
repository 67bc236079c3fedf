from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import Conflict, IntegrityError, InvalidValue, StorageFull, Unavailable
from jupyter_mlops.store import database as database_module
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.filesystem import network_file_system
from jupyter_mlops.store.turnstile import Turnstile
from tests import postgres

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/export rw,vers=4.2
31 30 0:41 / /home/local\\040disk rw shared:3 - xfs /dev/sdb1 rw
32 22 0:42 / /mnt/ssh rw - fuse.sshfs host:/ rw
33 22 0:43 / /mnt/overlay rw - fuse.fuse-overlayfs overlay rw
34 22 0:44 / /data rw - ext4 /dev/sdc1 rw
35 34 0:45 / /data rw - lustre mgs:/fs rw
"""
MAC = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//user@server/share on /Volumes/share (smbfs, nodev, nosuid, mounted by user)
"""


@pytest.mark.parametrize(
    ("path", "mounts", "expected"),
    [
        ("/var/lib/mlops", MOUNTS, None),
        ("/home/ann/.local", MOUNTS, "nfs4"),
        ("/homes/ann", MOUNTS, None),
        ("/home/local disk/ann", MOUNTS, None),
        ("/mnt/ssh/x", MOUNTS, "fuse.sshfs"),
        ("/mnt/overlay/x", MOUNTS, None),
        ("/data/x", MOUNTS, "lustre"),
        ("/Volumes/share/x", MAC, "smbfs"),
        ("/Volumes/other", MAC, None),
        ("/anything", "", None),
    ],
)
def test_network_file_systems_are_known_by_the_longest_mount(path: str, mounts: str, expected: str | None) -> None:
    assert network_file_system(Path(path), mounts) == expected


def journal_mode(path: Path) -> str:
    connection = sqlite3.connect(path)
    mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    return mode


def test_the_journal_suits_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "mlops.db"
    nfs = f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path} rw - nfs server:/ rw\n"
    for mounts, expected in (("1 0 0:1 / / rw - ext4 a rw\n", "wal"), (nfs, "delete")):
        database = Database(f"sqlite:///{path}", mounts=mounts)
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x)")
        assert journal_mode(path) == expected
        database.close()


@pytest.mark.usefixtures("durable")
def test_every_commit_is_synced(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


@pytest.mark.parametrize(
    "url",
    ["", "mlops.db", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "postgresql+psycopg2://h/d", "x:y"],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidValue, match="sqlite:////") as error:
        Database(url)
    assert "secret" not in str(error.value)


def test_passwords_are_masked(postgres_url: str) -> None:
    url = sa.make_url(postgres_url).set(password="hunter2").update_query_dict({"sslpassword": "hunter3"})
    database = Database(url.render_as_string(hide_password=False))
    assert "hunter" not in database.url
    database.close()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=f"{tmp_path}/none does not exist"):
        Database(f"sqlite:///{tmp_path}/none/mlops.db")


def test_a_folder_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=f"{tmp_path}/x+: File name too long"):
        Database(f"sqlite:///{tmp_path}/{'x' * 300}/mlops.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 1000)
    with pytest.raises(InvalidValue, match="no SQLite database"):
        Database(f"sqlite:///{tmp_path}/notes.txt")


def test_a_damaged_file_is_said_to_be_damaged(sqlite_url: str) -> None:
    path = Path(str(sa.make_url(sqlite_url).database))
    content = bytearray(path.read_bytes())
    content[4096 : len(content)] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        Database(sqlite_url)


def test_a_server_that_is_away_is_unavailable() -> None:
    database = Database("postgresql://nobody@localhost:1/none")
    with pytest.raises(Unavailable, match="does not answer"), database.read():
        pass
    database.close()


def test_a_full_disk_is_told(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    row = {"kind": "x", "owner": "o", "target": "t", "at": 1, "detail_json": "y" * 10_000_000}

    def fill() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 200")
            connection.execute(sa.insert(schema.event), row)

    with pytest.raises(StorageFull, match="free some space"):
        fill()
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.event)).scalar() == 0
    database.close()


def test_a_failed_block_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(schema.setting), {"key": "a", "value": "b"})
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    with database.read() as connection:
        assert connection.execute(sa.select(schema.setting)).all() == []


def test_a_read_sees_one_state(database: Database) -> None:
    settings = sa.select(schema.setting.c.key)
    with database.read() as connection:
        assert connection.execute(settings).all() == []
        with database.write() as other:
            other.execute(sa.insert(schema.setting), {"key": "a", "value": "b"})
        assert connection.execute(settings).all() == []
    with database.read() as connection:
        assert connection.execute(settings).all() == [("a",)]


def test_connections_that_were_ended_while_idle_are_made_again(
    postgres_server: postgres.Server, postgres_url: str
) -> None:
    database = Database(postgres_url)
    mine = "SELECT pg_backend_pid()"
    with database.read() as one, database.read() as two:
        ended = [connection.exec_driver_sql(mine).scalar_one() for connection in (one, two)]
    with database.write() as connection:
        assert connection.exec_driver_sql(mine).scalar_one() in ended
    killer = sa.create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    with killer.connect() as connection:
        for pid in ended:
            # Waits until it has ended.
            assert connection.exec_driver_sql("SELECT pg_terminate_backend(%s, 60000)", (pid,)).scalar_one()
    killer.dispose()
    with database.read() as one, database.write() as two:
        assert not {connection.exec_driver_sql(mine).scalar_one() for connection in (one, two)}.intersection(ended)
    database.close()


def test_a_fork_and_a_closed_database_are_refused(database: Database) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with database.read():
                pass
        except Conflict as error:
            os.write(write, error.message.encode())
        finally:
            database.close()
            os._exit(0)
    os.waitpid(child, 0)
    assert b"fork" in os.read(read, 1000)
    with database.read() as connection:
        assert connection.execute(sa.select(schema.setting)).all() == []
    database.close()
    with pytest.raises(Conflict, match="closed"), database.write():
        pass


def test_writers_take_turns(sqlite_url: str) -> None:
    # Two connections to one file in one process stand for two processes as far as SQLite's own lock is concerned.
    databases = [Database(sqlite_url) for _ in range(2)]
    order: list[int] = []
    stop = time.monotonic() + 1.0

    def write(number: int) -> None:
        while time.monotonic() < stop:
            with databases[number % 2].write() as connection:
                connection.execute(sa.insert(schema.event), {"kind": "x", "owner": "o", "target": "t", "at": number})
                order.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with databases[0].read() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(schema.event)).scalar()
    assert count == len(order)
    assert min(order.count(number) for number in range(4)) > 0
    for database in databases:
        database.close()


def test_a_turn_that_was_interrupted_as_it_began_keeps_no_process_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = Turnstile(tmp_path / "turn", patience=0.05)

    class Interrupted:
        acquire = turnstile._next.acquire

        def release(self) -> None:
            monkeypatch.undo()
            turnstile._next.release()
            raise KeyboardInterrupt

    monkeypatch.setattr(turnstile, "_next", Interrupted())
    with pytest.raises(KeyboardInterrupt), turnstile.turn():
        pass
    closing = threading.Thread(target=turnstile.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()


def test_errors_do_not_tell_what_was_to_be_stored(database: Database) -> None:
    statement = sa.text("INSERT INTO nowhere VALUES (:text)")
    with pytest.raises(sa.exc.DBAPIError, match="nowhere") as failed, database.write() as connection:
        connection.execute(statement, {"text": "hunter2"})
    assert "hunter2" not in str(failed.value)


def test_what_lost_its_connection_before_its_commit_is_done_again(
    postgres_server: postgres.Server, postgres_url: str
) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE said (word text)"))

    def say(word: str, *cuts: str) -> Callable[[], None]:
        """Says a word; the connection is cut at one of these places each time."""
        places = iter(cuts)

        def once() -> None:
            place = next(places, None)
            with database.write() as connection:
                if place == "before":
                    postgres_server.cut(postgres_url)
                connection.execute(sa.text("INSERT INTO said VALUES (:word)"), {"word": word})
                if place == "commit":
                    postgres_server.cut(postgres_url)
            with database.read() as connection:
                if place == "behind":
                    postgres_server.cut(postgres_url)
                connection.execute(sa.text("SELECT 1"))

        return once

    database.repeated(say("fine"))
    database.repeated(say("again", "before"))
    for cuts in (("before", "before"), ("commit",), ("behind",)):
        with pytest.raises(Unavailable):
            database.repeated(say(cuts[-1], *cuts))
    with database.read() as connection:
        said = connection.execute(sa.text("SELECT word FROM said ORDER BY word")).scalars().all()
    assert said == ["again", "behind", "fine"]
    database.close()


def test_a_connection_that_breaks_when_it_is_given_back_is_no_news(
    postgres_url: str, postgres_server: postgres.Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's statement failed by it, so that nobody is shown a traceback."""
    database = Database(postgres_url)
    connection = database.engine.raw_connection()
    connection.cursor().execute("SELECT 1")
    assert postgres_server.cut(postgres_url) == 1
    connection.close()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("sqlalchemy")] == []
    database.ping()
    database.close()


def test_who_waits_for_a_writer_that_was_stopped_is_told(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as for SQLite; the writer's connection may be there for hours."""
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 100)
    stopped, other = Database(postgres_url), Database(postgres_url)
    with stopped.write() as connection:
        connection.execute(sa.text("CREATE TABLE said (word text)"))
        connection.execute(sa.text("INSERT INTO said VALUES ('first')"))
    failures: list[Unavailable] = []

    def write() -> None:
        try:
            with other.write() as connection:
                connection.execute(sa.text("UPDATE said SET word = 'second'"))
        except Unavailable as error:
            failures.append(error)

    with stopped.write() as connection:
        connection.execute(sa.text("UPDATE said SET word = 'never'"))
        waiting = threading.Thread(target=write, daemon=True)
        waiting.start()
        waiting.join(20)
        waited = waiting.is_alive()
        connection.rollback()
    waiting.join(20)
    assert not waited
    assert ["lock timeout" in error.message for error in failures] == [True]
    write()
    with other.read() as connection:
        assert connection.execute(sa.text("SELECT word FROM said")).scalars().all() == ["second"]
    for database in stopped, other:
        database.close()
