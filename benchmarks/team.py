"""A store with what 200 people have in it, as one of them finds it."""

from __future__ import annotations

import io
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_mlops.core.access import EVERYONE, Principal, Scope
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker

USERS = 200
GROUPS = 25
ME, MY_GROUPS, LED = "user-0", ("group-0", "group-1", "group-2"), ("group-0",)
"""Whose sidebar is looked at, her groups, and those in which she may promote."""
_OF_A_USER, _OF_A_GROUP, _SHARED = 3, 8, 40
"""Experiments of each user and group, and how many of the users' are open to everyone."""
_RUNS = 30
"""Of an experiment."""
_RUNNING = 40
_MODELS = 60
"""Registered models; of the first half a second version waits to be promoted."""


class Sizes(NamedTuple):
    users: int
    experiments: int
    runs: int
    models: int


def fill(url: str, artifacts: Path) -> Sizes:
    """Put their experiments, runs, models and requests into the store at ``url``, files into ``artifacts``. Runs are
    written table by table: through the API they would take longer than all that is measured."""
    owners = [f"user-{user}" for user in range(USERS) for _ in range(_OF_A_USER)]
    owners += [f"group:group-{group}" for group in range(GROUPS) for _ in range(_OF_A_GROUP)]
    with connect(url, artifacts=artifacts) as tracker:
        experiments = _experiments(tracker, owners)
        runs = _runs(tracker, list(zip(experiments, owners, strict=True)))
    _models(url)
    return Sizes(USERS, len(owners), runs, _MODELS)


def _experiments(tracker: Tracker, owners: list[str]) -> list[str]:
    from jupyter_mlops.store import schema

    now = time.time_ns() // 1_000_000
    ids = [new_id() for _ in owners]
    rows = [
        dict(id=each, name=f"experiment-{number}", owner=owner, lifecycle="active", created=now, updated=now)
        for number, (each, owner) in enumerate(zip(ids, owners, strict=True))
    ]
    shares = [
        dict(experiment_id=each, grantee=EVERYONE, role="read", created_by=owner, created=now)
        for each, owner in list(zip(ids, owners, strict=True))[:: _OF_A_USER * USERS // _SHARED][:_SHARED]
    ]
    with tracker._context.database.write() as connection:  # type: ignore[attr-defined]  # it is an embedded one
        connection.execute(schema.experiment.insert(), rows)
        connection.execute(schema.experiment_share.insert(), shares)
    return ids


def _runs(tracker: Tracker, experiments: list[tuple[str, str]]) -> int:
    from jupyter_mlops.store import schema

    database = tracker._context.database  # type: ignore[attr-defined]  # as above
    generator = random.Random(7)
    now = time.time_ns() // 1_000_000
    working = set(generator.sample(range(len(experiments) * _RUNS), _RUNNING))
    numbers = itertools.count()
    for some in _in_groups(experiments):
        runs: list[dict[str, Any]] = []
        params: list[dict[str, Any]] = []
        for experiment_id, owner in some:
            for _ in range(_RUNS):
                number = next(numbers)
                start = now - generator.randrange(30 * 86_400_000)
                works = number in working
                run_id = new_id()
                runs.append(
                    dict(
                        id=run_id, experiment_id=experiment_id, name=f"run-{number}", kind="notebook",
                        created_by=owner.replace("group:group-", "user-"), status="RUNNING" if works else "FINISHED",
                        created=start, start_time=start, end_time=None if works else start + 60_000,
                        lifecycle="active", source="train.ipynb", heartbeat=now if works else None,
                        progress_done=4, progress_total=9,
                    )
                )  # fmt: skip
                for key, value in (("depth", number % 11), ("seed", number % 7), ("width", 2 ** (number % 9))):
                    text = str(value)
                    params.append(
                        dict(run_id=run_id, key=key, value_json=text, text=text, number=value, redacted=False)
                    )
        with database.write() as connection:
            connection.execute(schema.run.insert(), runs)
            connection.execute(schema.param.insert(), params)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return next(numbers)


def _in_groups(experiments: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for first in range(0, len(experiments), 50):
        yield experiments[first : first + 50]


def _models(url: str) -> None:
    """Models of the groups, each with a champion."""
    for number in range(_MODELS):
        group = f"group-{number % GROUPS}"
        member = Principal(name=f"user-{number + 1}", groups=frozenset([group]), scope=Scope.WRITE)
        name = f"model-{number}"
        with connect(url, principal=member) as tracker:
            experiment = tracker.experiments.ensure("models", owner=f"group:{group}")
            for version in (1, 2):
                run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
                content = f"flavors: {{python_function: {{}}}}\nmodel: {number}.{version}\n"
                tracker.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(content.encode()))
                tracker.models.register(name, run.run_id, "m")
        with connect(url) as administrator:
            administrator.promotions.override(name, "production", version=1, reason="the first one")
        if number < _MODELS // 2:
            with connect(url, principal=member) as tracker:
                tracker.promotions.request(name, 2, reason="better on new customers")
