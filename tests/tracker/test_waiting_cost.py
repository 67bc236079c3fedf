"""What waits for somebody is asked for often, so it costs the same few statements however much waits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore

RED = frozenset({"red"})
MOST = 12


@contextmanager
def counted() -> Iterator[list[str]]:
    statements: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        statements.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", count)


def test_what_waits_costs_a_few_statements_however_much_it_is(database: Database, tmp_path: Path) -> None:
    store = OpenStore(database, str(tmp_path), lambda: 1_700_000_000_000)
    boss = EmbeddedTracker(store, Principal("boss", scope=Scope.ADMIN))
    ada = boss.acting_for(Principal("ada", RED))
    bo = boss.acting_for(Principal("bo", RED, Scope.PROMOTE))
    run = ada.runs.create(NewRun(experiment_id=ada.experiments.ensure("training").experiment_id))
    ada.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))

    def ask(number: int) -> None:
        name = ada.models.register(f"model {number}", run.run_id, "m").model
        boss.policies.set(Policy(checks=(), lifetime_days=number + 1), model=name)
        boss.policies.set(Policy(checks=(), approvals=2), model=name)
        ada.promotions.comment(ada.promotions.request(name, 1).request_id, "@bo?")

    seen = []
    for number in range(20):
        ask(number)
        with counted() as statements:
            waiting = bo.promotions.waiting()
        assert (len(waiting.decide), len(waiting.mentions)) == (number + 1, number + 1)
        seen.append(len(statements))
    assert seen[0] == seen[-1] <= MOST
