"""The session of a process: runs begin, are filled and end, whatever happens to the process or the store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import Batch, Metric, NewRun, ReasonKind, Run, RunKind, RunStatus, Tag
from jupyter_mlops.core.values import param
from jupyter_mlops.recording import delivery
from jupyter_mlops.recording.delivery import StorageWarning
from jupyter_mlops.recording.entities import ActiveRun
from jupyter_mlops.recording.session import Session
from jupyter_mlops.store import schema
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.process import is_alive
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import Replayed, Replayer, replay_folder
from tests.waiting import until


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of the test's own store, for this process and those it starts."""
    for name in ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT", "MLOPS_RUN_ID", "MLOPS_STRICT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(place: Path) -> Iterator[Tracker]:
    with connect() as tracker:
        yield tracker


@pytest.fixture
def begin(place: Path) -> Iterator[Callable[..., Session]]:
    """Makes sessions, which are closed at the end."""
    sessions: list[Session] = []

    def make(**environ: str) -> Session:
        sessions.append(Session(environ))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def metric(step: int, key: str = "loss") -> tuple[Metric, ...]:
    return (Metric(key, float(step), 1_700_000_000_000 + step, step),)


def test_the_owner_of_the_experiment_is_known_before_it_is_made(begin: Callable[..., Session]) -> None:
    session = begin(MLOPS_EXPERIMENT="red/churn")
    session.delivery.tracker.principal = Principal("ada", frozenset({"red", "blue"}))
    assert session.experiment_owner() == "group:red"
    session.set_experiment("churn")
    assert session.experiment_owner() == session.experiment().owner


def runs(store: Tracker) -> list[Run]:
    return list(store.runs.search(order_by=["attributes.start_time ASC"]).items)


class TestLive:
    def test_a_run_that_was_deleted_keeps_no_other_from_being_heard_of(
        self, begin: Callable[..., Session], store: Tracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery, "HEARTBEAT_SECONDS", 0.02)
        session = begin()
        outer = session.start_run()
        inner = [session.start_run(nested=True) for _ in range(8)]
        session.flush()
        store.runs.delete(inner[0].run_id)
        heard = store.runs.get(outer.run_id).heartbeat
        session.log_metrics(outer.run_id, metric(0))
        until(lambda: store.runs.get(outer.run_id).heartbeat != heard, "a heartbeat of the run that is there")

    def test_files_that_cannot_be_stored_are_told_of_at_the_start(
        self, begin: Callable[..., Session], place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLOPS_ARTIFACTS_URL", "s3://bucket")
        monkeypatch.setitem(sys.modules, "s3fs", None)
        session = begin()
        run = session.start_run()
        session.log_metrics(run.run_id, metric(0))
        with pytest.warns(StorageWarning, match="pip install s3fs"):
            session.flush()
        assert [found.value for found in session.reader().runs.get(run.run_id).metrics] == [0.0]

    def test_delivery_goes_on_where_warnings_are_errors(
        self, begin: Callable[..., Session], store: Tracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = begin()
        run = session.start_run()
        replay, failed = Replayer.run, threading.Event()

        def fails_once(self: Replayer, tracker: Tracker) -> Replayed:
            if not failed.is_set():
                failed.set()
                raise Unavailable("away for a moment")
            return replay(self, tracker)

        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            patch.setattr(Replayer, "run", fails_once)
            session.log_metrics(run.run_id, metric(0))
            assert failed.wait(60)
            until(lambda: store.runs.get(run.run_id).metrics, "storing")

    def test_without_a_thread_to_spare_what_is_logged_is_stored_later(
        self, begin: Callable[..., Session], store: Tracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = begin()
        run = store.runs.create(NewRun(experiment_id=store.experiments.ensure("busy").experiment_id))

        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            session.log_metrics(run.run_id, metric(0))
        session.log_metrics(run.run_id, metric(1))
        until(lambda: [each.count for each in store.runs.get(run.run_id).metrics] == [2], "storing")

    def test_who_logs_does_not_wait_for_a_tracker_that_is_being_opened(
        self, begin: Callable[..., Session], store: Tracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = begin()
        run = store.runs.create(NewRun(experiment_id=store.experiments.ensure("slow").experiment_id))
        opening, answers = threading.Event(), threading.Event()

        def slowly(url: str) -> Tracker:
            opening.set()
            answers.wait(60)
            return connect(url)

        monkeypatch.setattr("jupyter_mlops.tracker.connect.connect", slowly)
        reading = threading.Thread(target=session.reader, daemon=True)
        reading.start()
        assert opening.wait(60)
        logging = threading.Thread(target=session.log_metrics, args=(run.run_id, metric(0)), daemon=True)
        logging.start()
        logging.join(20)
        waited = logging.is_alive()
        answers.set()
        logging.join()
        reading.join()
        assert not waited

    def test_what_finds_no_room_waits_and_is_stored_when_there_is(
        self, begin: Callable[..., Session], store: Tracker, recwarn: pytest.WarningsRecorder
    ) -> None:
        session = begin()
        run = session.start_run()
        session.flush()
        owner = store.experiments.get(run.experiment_id).owner
        store.quotas.set(owner, Quota(bytes=3, points=10))
        for step in range(20):
            session.log_metrics(run.run_id, metric(step))
            session.flush()
        session.delivery.put_file(run.run_id, "notes.txt", lambda place: place.write_text("longer than three"))
        session.flush()
        told = [str(warning.message) for warning in recwarn if warning.category is StorageWarning]
        assert len(told) == 1
        assert f"the quota of {owner!r} for metric points is 10, of which 10 are used" in told[0]
        assert "is kept in" in told[0]
        assert [found.count for found in store.runs.get(run.run_id).metrics] == [10]
        store.quotas.set(owner, Quota())
        session.flush()
        assert [found.count for found in store.runs.get(run.run_id).metrics] == [20]
        assert [file.path for file in store.artifacts.walk(run.run_id)] == ["notes.txt"]

    def test_a_run_that_waits_for_room_is_heard_of(
        self,
        begin: Callable[..., Session],
        store: Tracker,
        monkeypatch: pytest.MonkeyPatch,
        recwarn: pytest.WarningsRecorder,
    ) -> None:
        assert isinstance(store, EmbeddedTracker)
        monkeypatch.setattr(delivery, "HEARTBEAT_SECONDS", 0.01)
        session = begin()
        run = session.start_run()
        session.flush()
        store.quotas.set(store.experiments.get(run.experiment_id).owner, Quota(points=0))

        def heard() -> int:
            with store.database.read() as connection:
                return int(connection.execute(sa.select(schema.run.c.heartbeat)).scalar_one())

        session.log_metrics(run.run_id, metric(0))
        session.flush()
        before = heard()
        until(lambda: heard() > before, "a heartbeat")
        assert ["metric points" in str(warning.message) for warning in recwarn] == [True]

    def test_a_run_is_seen_at_once(self, begin: Callable[..., Session], store: Tracker) -> None:
        run = begin().start_run(name="first", tags={"team": "a"}, description="why")
        found = store.runs.get(run.run_id)
        assert (found.name, found.status, found.kind) == ("first", RunStatus.RUNNING, RunKind.SESSION)
        assert {tag.key: tag.value for tag in found.tags} == {"team": "a", "mlflow.note.content": "why"}
        assert store.experiments.get(found.experiment_id).name == "Default"
        assert found.runner is not None
        assert is_alive(found.runner)

    def test_values_are_stored_within_a_second_by_themselves(
        self, begin: Callable[..., Session], store: Tracker
    ) -> None:
        session = begin()
        run = session.start_run()
        session.log_metrics(run.run_id, metric(7))
        until(lambda: store.runs.get(run.run_id).metrics, "storing a metric")

    def test_reading_finds_what_was_just_logged(self, begin: Callable[..., Session]) -> None:
        session = begin()
        run = session.start_run()
        for step in range(100):
            session.log_metrics(run.run_id, metric(step))
        assert run.metrics == {"loss": 99.0}
        assert run.record.metrics[0].count == 100

    def test_the_block_ends_the_run(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        with session.start_run() as run:
            assert session.active is run
        assert session.active is None
        session.flush()
        found = store.runs.get(run.run_id)
        assert found.status is RunStatus.FINISHED
        assert found.end_time is not None

    @pytest.mark.parametrize(
        ("error", "status", "kind"),
        [
            (ValueError("bad data"), RunStatus.FAILED, ReasonKind.ERROR),
            (KeyboardInterrupt(), RunStatus.KILLED, ReasonKind.CANCELLED),
            (SystemExit(3), RunStatus.FAILED, ReasonKind.ERROR),
            (SystemExit(0), RunStatus.FINISHED, None),
        ],
    )
    def test_how_a_block_ends_says_how_the_run_ends(
        self, begin: Callable[..., Session], store: Tracker, error: BaseException, status: RunStatus, kind: Any
    ) -> None:
        session = begin()
        with pytest.raises(type(error)), session.start_run() as run:
            raise error
        session.flush()
        found = store.runs.get(run.run_id)
        assert found.status is status
        assert (found.reason.kind if found.reason else None) is kind
        if isinstance(error, ValueError):
            assert found.reason is not None
            assert found.reason.message == "ValueError: bad data"
            assert "raise error" in (found.reason.traceback or "")

    def test_runs_nest(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        with session.start_run() as outer:
            with pytest.raises(Conflict, match="nested=True"):
                session.start_run()
            with session.start_run(nested=True) as inner:
                assert session.active is inner
            assert session.active is outer
        session.flush()
        assert [run.run_id for run in store.runs.children(outer.run_id)] == [inner.run_id]

    def test_ending_the_outer_run_ends_what_is_inside(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        outer = session.start_run()
        session.start_run(nested=True)
        session.end_run(outer)
        session.flush()
        assert {run.status for run in runs(store)} == {RunStatus.FINISHED}
        session.end_run()

    def test_a_run_is_resumed(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        with session.start_run(name="again") as run:
            session.log(run.run_id, Batch(params=(param("lr", 0.1),)))
        with session.start_run(run.run_id) as resumed:
            assert resumed.name == "again"
            session.log(run.run_id, Batch(params=(param("lr", 0.1),)))
            with pytest.raises(InvalidValue, match="'lr'"):
                session.log(run.run_id, Batch(params=(param("lr", 0.2),)))
            assert resumed.status == "RUNNING"
        assert session.reader().runs.get(run.run_id).status is RunStatus.FINISHED
        assert len(runs(store)) == 1

    def test_what_cannot_be_resumed_is_said(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        with pytest.raises(NotFound):
            session.start_run(new_id())
        with pytest.raises(InvalidValue, match="'nonsense'"):
            session.start_run("nonsense")
        with session.start_run() as run:
            pass
        session.flush()
        store.runs.delete(run.run_id)
        with pytest.raises(Conflict, match="deleted"):
            session.start_run(run.run_id)
        assert session.active is None

    def test_a_mistake_leaves_no_run_behind(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        with pytest.raises(InvalidValue, match="tag"):
            session.start_run(tags={"": "x"})
        with pytest.raises(NotFound):
            session.start_run(experiment_id=new_id())
        assert session.active is None
        assert runs(store) == []

    def test_the_experiment_is_made_when_set(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()
        experiment = session.set_experiment("churn")
        assert store.experiments.find("churn").experiment_id == experiment.experiment_id
        assert session.start_run().experiment_id == experiment.experiment_id

    def test_the_environment_names_the_experiment(self, begin: Callable[..., Session], store: Tracker) -> None:
        run = begin(MLOPS_EXPERIMENT="nightly").start_run()
        assert store.experiments.find("nightly").experiment_id == run.experiment_id

    def test_a_deleted_experiment_is_refused(self, begin: Callable[..., Session], store: Tracker) -> None:
        store.experiments.delete(store.experiments.ensure("old").experiment_id)
        with pytest.raises(Conflict, match="old"):
            begin().set_experiment("old")

    def test_secrets_are_left_out(self, begin: Callable[..., Session], place: Path) -> None:
        session = begin()
        run = session.start_run()
        session.log(
            run.run_id,
            Batch(
                params=(param("api_key", "hunter2-hunter2"), param("max_tokens", 5)),
                tags=(Tag("password", "s3cr3t-x"),),
            ),
        )
        found = run.record
        assert {item.key: (item.value, item.redacted) for item in found.params} == {
            "api_key": ("[redacted]", True),
            "max_tokens": (5, False),
        }
        assert run.tags["password"] == "[redacted]"
        session.close()
        with pytest.raises(ValueError, match="db"), begin().start_run():
            raise ValueError("postgresql://ann:hunter2-hunter2@db/x")
        everything = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
        assert b"hunter2" not in everything
        assert b"s3cr3t" not in everything

    def test_threads_have_runs_of_their_own(self, begin: Callable[..., Session]) -> None:
        session = begin()
        seen: dict[str, Any] = {}

        def work() -> None:
            seen["before"] = session.active
            with session.start_run() as own:
                seen["own"] = own
                seen["inside"] = session.active
            seen["after"] = session.active

        with session.start_run() as main:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert session.active is main
        assert seen["before"] is seen["after"] is main
        assert seen["inside"] is seen["own"]
        assert seen["own"].record.parent_run_id is None

    def test_the_tracker_changes_between_runs_only(self, begin: Callable[..., Session], tmp_path: Path) -> None:
        session = begin()
        with session.start_run(), pytest.raises(Conflict, match="active"):
            session.use_tracker(f"sqlite:///{tmp_path}/other.db")
        session.use_tracker(f"sqlite:///{tmp_path}/other.db")
        run = session.start_run()
        with connect(f"sqlite:///{tmp_path}/other.db") as other:
            assert other.runs.get(run.run_id).run_id == run.run_id

    def test_a_run_folder_is_private_and_exists(self, begin: Callable[..., Session]) -> None:
        session = begin()
        run = session.start_run()
        folder = session.run_dir(run)
        assert folder.is_dir()
        assert run.run_id in folder.name
        assert folder.stat().st_mode & 0o077 == 0
        folder.rmdir()

    def test_senseless_settings_are_refused(self, begin: Callable[..., Session]) -> None:
        with pytest.raises(InvalidValue, match="MLOPS_RUN_ID"):
            begin(MLOPS_RUN_ID="x")
        with pytest.raises(InvalidValue, match="MLOPS_SPOOL_LIMIT"):
            begin(MLOPS_SPOOL_LIMIT="lots")


class TestWithoutAStore:
    """A database that does not answer: a port nobody listens on."""

    URL = "postgresql://nobody@127.0.0.1:1/none"

    def test_logging_warns_once_and_goes_on(self, place: Path) -> None:
        session = Session({}, url=self.URL)

        def work() -> None:
            with session.start_run(name="offline") as run:
                for step in range(10):
                    session.log_metrics(run.run_id, metric(step))
                session.flush()
            session.close()

        with pytest.warns(StorageWarning, match="stored later") as warned:
            work()
        assert len(warned) == 1
        (spool,) = (place / "spool").glob("*.spool")
        assert b"offline" in spool.read_bytes()
        with connect() as other:
            assert replay_folder(place / "spool", other).applied == 0

    def test_strict_mode_raises(self, place: Path) -> None:
        session = Session({"MLOPS_STRICT": "1"}, url=self.URL)
        with pytest.raises(Unavailable):
            session.start_run()
        session.close()

    def test_what_was_logged_meanwhile_is_stored_later(
        self, begin: Callable[..., Session], store: Tracker, place: Path
    ) -> None:
        store.close()
        session = begin()

        def work() -> ActiveRun:
            session.set_experiment("later")
            with session.start_run(name="offline") as run:
                session.log_metrics(run.run_id, metric(1))
            return run

        (place / "mlops.db").rename(place / "hidden.db")
        (place / "mlops.db").symlink_to(place / "none" / "mlops.db")
        with pytest.warns(StorageWarning):
            run = work()
        # In one step: the thread that delivers must not make a new file between two.
        (place / "hidden.db").replace(place / "mlops.db")
        session.flush()
        # Opened anew: connections from before do not all survive that their file was away.
        with connect() as again:
            found = again.runs.get(run.run_id)
            assert (found.name, found.status, found.metrics[0].value) == ("offline", RunStatus.FINISHED, 1.0)
            assert again.experiments.get(found.experiment_id).name == "later"

    def test_refused_entries_are_told(self, begin: Callable[..., Session], store: Tracker) -> None:
        session = begin()

        def work() -> None:
            session.log_metrics(new_id(), metric(1))
            session.flush()

        with pytest.warns(StorageWarning, match="refused"):
            work()


class TestInANotebookRun:
    @pytest.fixture
    def enclosing(self, store: Tracker) -> str:
        experiment = store.experiments.ensure("notebook").experiment_id
        return store.runs.create(NewRun(experiment_id=experiment, kind=RunKind.NOTEBOOK)).run_id

    @pytest.fixture
    def session(self, begin: Callable[..., Session], enclosing: str, tmp_path: Path) -> Session:
        return begin(
            MLOPS_RUN_ID=enclosing,
            MLOPS_SPOOL_DIR=str(tmp_path / "spool"),
            MLOPS_RUN_DIR=str(tmp_path / "scratch"),
            MLOPS_EXPERIMENT="elsewhere",
        )

    def test_logging_lands_in_it(self, session: Session, store: Tracker, enclosing: str, tmp_path: Path) -> None:
        session.log_metrics(session.logged_to().run_id, metric(3))
        replay_folder(tmp_path / "spool", store)
        assert store.runs.get(enclosing).metrics[0].value == 3.0

    def test_it_needs_no_database(self, place: Path, enclosing: str, tmp_path: Path) -> None:
        code = """
            import sys
            before = {name.partition(".")[0] for name in sys.modules}
            import jupyter_mlops as mlops
            with mlops.start_run() as run:
                mlops.log_param("lr", 0.1)
                mlops.log_metric("loss", 1)
                mlops.log_text("x", "a.txt")
            with mlops.start_run(run_name="child"):
                mlops.set_tag("a", 1)
            installed = {
                name.partition(".")[0]
                for name, module in list(sys.modules.items())
                if "site-packages" in (getattr(module, "__file__", None) or "")
            }
            assert installed - before - {"typing_extensions"} == {"msgspec", "psutil"}, installed
        """
        run_python(code, MLOPS_RUN_ID=enclosing, MLOPS_SPOOL_DIR=str(tmp_path / "spool"))
        with connect() as store:
            replay_folder(tmp_path / "spool", store)
            (child,) = store.runs.children(enclosing)
            parent = store.runs.get(enclosing)
        assert (child.name, child.status) == ("child", RunStatus.FINISHED)
        assert (child.experiment_id, parent.params[0].value) == (parent.experiment_id, 0.1)

    def test_without_a_database_layer_logging_goes_on_and_reading_says_what_is_missing(
        self, place: Path, enclosing: str, tmp_path: Path
    ) -> None:
        code = """
            import sys, warnings
            sys.modules["sqlalchemy"] = None  # as in an environment without it
            import jupyter_mlops as mlops
            from jupyter_mlops.core.errors import MissingDependency
            for read in mlops.search_runs, lambda: mlops.active_run().metrics, lambda: mlops.load_model("models:/a/1"):
                try:
                    read()
                except MissingDependency as error:
                    assert sys.prefix in error.message and "'sqlalchemy'" in error.message, error
                else:
                    raise AssertionError(read)
            with warnings.catch_warnings(record=True) as said:
                mlops.log_metric("loss", 1)
                mlops.flush()
            assert [one.category.__name__ for one in said] == ["StorageWarning"], said
        """
        run_python(code, MLOPS_RUN_ID=enclosing, MLOPS_SPOOL_DIR=str(tmp_path / "spool"))
        with connect() as store:
            replay_folder(tmp_path / "spool", store)
            assert [metric.key for metric in store.runs.get(enclosing).metrics] == ["loss"]

    def test_the_first_run_begun_is_the_notebooks_and_goes_on(
        self, session: Session, store: Tracker, enclosing: str, tmp_path: Path
    ) -> None:
        with session.start_run(name="renamed", tags={"a": "b"}) as first:
            assert first.run_id == enclosing
        with session.start_run() as second:
            assert second.run_id != enclosing
        with pytest.raises(ValueError, match="x"), session.start_run():
            raise ValueError("x")
        assert session.active is session.enclosing
        replay_folder(tmp_path / "spool", store)
        run = store.runs.get(enclosing)
        assert (run.name, run.status) == ("renamed", RunStatus.RUNNING)
        assert ("a", "b") in {(tag.key, tag.value) for tag in run.tags}
        assert [child.status for child in store.runs.children(enclosing)] == [RunStatus.FINISHED, RunStatus.FAILED]

    def test_a_nested_run_is_a_child_also_when_it_is_the_first(
        self, session: Session, store: Tracker, enclosing: str, tmp_path: Path
    ) -> None:
        with session.start_run(nested=True) as run:
            assert run.run_id != enclosing
        replay_folder(tmp_path / "spool", store)
        assert store.runs.get(run.run_id).parent_run_id == enclosing

    def test_children_go_to_the_experiment_that_was_set(
        self, session: Session, store: Tracker, enclosing: str, tmp_path: Path
    ) -> None:
        session.set_experiment("children")
        with session.start_run(nested=True) as run:
            pass
        replay_folder(tmp_path / "spool", store)
        assert store.experiments.get(store.runs.get(run.run_id).experiment_id).name == "children"

    def test_reading_sees_what_was_logged(self, session: Session) -> None:
        session.log_metrics(session.logged_to().run_id, metric(3))
        assert session.logged_to().metrics == {"loss": 3.0}

    def test_the_scratch_folder_is_the_runners(self, session: Session, tmp_path: Path) -> None:
        assert session.run_dir(session.logged_to()) == tmp_path / "scratch"


def run_python(code: str, *, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
    )


@pytest.mark.slow
class TestTheEndOfTheProcess:
    def the_run(self, store: Tracker) -> Run:
        (run,) = runs(store)
        return run

    def test_leaving_ends_the_run(self, store: Tracker) -> None:
        run_python("import jupyter_mlops as mlops; mlops.log_metric('x', 1)")
        run = self.the_run(store)
        assert (run.status, run.metrics[0].value) == (RunStatus.FINISHED, 1.0)

    def test_an_error_outside_of_a_block_fails_the_run(self, store: Tracker) -> None:
        done = run_python("import jupyter_mlops as mlops; mlops.start_run(); 1/0", check=False)
        assert "ZeroDivisionError" in done.stderr
        run = self.the_run(store)
        assert run.status is RunStatus.FAILED
        assert run.reason is not None
        assert run.reason.message == "ZeroDivisionError: division by zero"

    def test_sigterm_kills_the_run_and_the_process(self, store: Tracker) -> None:
        code = """
            import jupyter_mlops as mlops
            mlops.start_run()
            mlops.log_metric("x", 1)
            print("ready", flush=True)
            while True: mlops.log_metric("y", 1)
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.terminate()
            _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGTERM, errors
        run = self.the_run(store)
        assert run.status is RunStatus.KILLED
        assert run.reason is not None
        assert run.reason.kind is ReasonKind.CANCELLED

    def test_after_kill_9_the_spool_has_everything(self, store: Tracker, place: Path) -> None:
        code = """
            import os, jupyter_mlops as mlops
            mlops.start_run()
            step = 0
            while True:
                mlops.log_metric("x", step, step=step)
                os.write(1, b"%d\\n" % step)
                step += 1
        """
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            # Until a part of it is stored already.
            until(lambda: process.stdout.readline() and any(run.metrics for run in runs(store)), "storing")
            process.kill()
            last = int(process.stdout.read().splitlines()[-1])
        replay_folder(place / "spool", store)
        run = self.the_run(store)
        summary = run.metrics[0]
        assert summary.step >= last
        assert summary.count == summary.step + 1
        assert run.status is RunStatus.RUNNING
        assert run.runner is not None
        assert is_alive(run.runner) is False

    def test_forked_children_log_to_the_parents_run(self, store: Tracker) -> None:
        code = """
            import multiprocessing, jupyter_mlops as mlops
            def work(number):
                mlops.log_metric(f"child-{number}", number)
            mlops.start_run()
            mlops.log_metric("parent", 1)
            context = multiprocessing.get_context("fork")
            children = [context.Process(target=work, args=(number,)) for number in range(3)]
            for child in children: child.start()
            for child in children: child.join()
            assert mlops.active_run().metrics.keys() == {"parent", "child-0", "child-1", "child-2"}
        """
        run_python(code)
        run = self.the_run(store)
        assert run.status is RunStatus.FINISHED
        assert len(run.metrics) == 4

    def test_a_forked_child_that_leaves_does_not_end_the_parents_run(self, store: Tracker) -> None:
        code = """
            import os, sys, jupyter_mlops as mlops
            with mlops.start_run() as run:
                pid = os.fork()
                if pid == 0:
                    mlops.log_metric("child", 1)
                    sys.exit(3)
                os.waitpid(pid, 0)
                assert run.status == "RUNNING"
                assert run.metrics == {"child": 1.0}
        """
        run_python(code)
        assert self.the_run(store).status is RunStatus.FINISHED

    def test_an_orphaned_child_stores_by_itself(self, store: Tracker) -> None:
        """The parent leaves first, as when a process makes itself a daemon."""
        code = """
            import os, time, jupyter_mlops as mlops
            run = mlops.start_run()
            read, write = os.pipe()
            if os.fork() == 0:
                os.close(write)
                os.read(read, 1)
                mlops.log_metric("orphan", 1)
                deadline = time.monotonic() + 60
                while not run.metrics and time.monotonic() < deadline: time.sleep(0.02)
                os._exit(0)
        """
        run_python(code)
        until(lambda: self.the_run(store).metrics, "storing the orphan's metric")
