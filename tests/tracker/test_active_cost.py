"""What is running is asked for by every open panel, whenever a run changes: runs of others cost it nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path

import sqlalchemy as sa

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun, RunChange, RunStatus
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore

QUERIES = Path(__file__).parents[2] / "labextension" / "src" / "api" / "queries.ts"


def test_ended_runs_of_others_cost_the_list_of_running_ones_nothing(database: Database, tmp_path: Path) -> None:
    asked = re.search(r"filter: \"(.*status IN.*)\",\s*order_by: \['(.*)'\]", QUERIES.read_text())
    assert asked is not None
    ada = EmbeddedTracker(OpenStore(database, str(tmp_path), lambda: 1_700_000_000_000), Principal("ada"))
    experiment_id = ada.experiments.ensure("training").experiment_id
    ada.experiments.ensure("another")
    theirs = ada.acting_for(Principal("bo")).experiments.ensure("training").experiment_id
    running = ada.runs.create(NewRun(experiment_id=experiment_id)).run_id
    waiting = ada.runs.create(NewRun(experiment_id=experiment_id, status=RunStatus.SCHEDULED)).run_id
    ended = ada.runs.create(NewRun(experiment_id=experiment_id))
    ada.runs.change(ended.run_id, RunChange(status=RunStatus.FINISHED))

    def seconds() -> float:
        taken = []
        for _ in range(7):
            start = time.perf_counter()
            found = ada.runs.search(filter=asked[1], order_by=[asked[2]], limit=100).items
            taken.append(time.perf_counter() - start)
            assert [run.run_id for run in found] == [running, waiting]
        return min(taken)

    few = seconds()
    with database.engine.begin() as connection:
        row = connection.execute(sa.select(schema.run).where(schema.run.c.id == ended.run_id)).mappings().one()
        connection.execute(
            sa.insert(schema.run), [{**row, "id": new_id(), "experiment_id": theirs} for _ in range(30_000)]
        )
    assert seconds() < 4 * few
