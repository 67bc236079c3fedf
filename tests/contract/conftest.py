"""The trackers that the contract holds for. The tests know them by their protocol only."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from jupyter_mlops.core.access import Principal, local_principal
from jupyter_mlops.core.records import Batch, Experiment, NewRun, Run
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import running

Opener = Callable[..., Tracker]

KINDS = ("embedded-sqlite", "embedded-postgresql", "remote-sqlite")
"""Of a service over PostgreSQL, what is asked of the database and what passes a service is seen without it."""
AT_ONCE = "remote-postgresql"
"""One more for what happens at once: there, the threads of a service meet in the locks of a database that has many."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        at_once = metafunc.definition.get_closest_marker("at_once")
        metafunc.parametrize("kind", (*KINDS, AT_ONCE) if at_once else KINDS)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, kind: str) -> str:
    """The URL of a database with the schema and nothing else, for a tracker of the kind."""
    url: str = request.getfixturevalue("sqlite_url" if kind.endswith("sqlite") else "postgres_store_url")
    return url


@pytest.fixture
def open_tracker(kind: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """Opens one more tracker on the same store, for a principal if one is given; of the same kind."""
    folder = tmp_path_factory.mktemp("artifacts")
    with ExitStack() as opened:
        if kind.startswith("embedded"):

            def open_one(principal: Principal | None = None) -> Tracker:
                return opened.enter_context(connect(database_url, artifacts=folder, principal=principal))

        else:
            service = opened.enter_context(running(database_url, folder, tmp_path_factory.mktemp("service")))

            def open_one(principal: Principal | None = None) -> Tracker:
                who = principal or local_principal(getpass.getuser())
                return opened.enter_context(RemoteTracker(service.url, service.token_of(who)))  # type: ignore[return-value]

        yield open_one


@pytest.fixture
def tracker(open_tracker: Opener) -> Tracker:
    return open_tracker()


@pytest.fixture
def experiment(tracker: Tracker) -> Experiment:
    return tracker.experiments.create("churn")


@pytest.fixture
def start(tracker: Tracker, experiment: Experiment) -> Callable[..., Run]:
    """Creates a run, by default in ``experiment``; keywords are those of ``NewRun``."""

    def create(batch: Batch | None = None, **fields: object) -> Run:
        fields.setdefault("experiment_id", experiment.experiment_id)
        return tracker.runs.create(NewRun(batch=batch or Batch(), **fields))  # type: ignore[arg-type]

    return create
