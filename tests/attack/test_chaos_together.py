"""Many processes on one store, and a database server that cuts its connections."""

from __future__ import annotations

import subprocess
import threading
from io import BytesIO

import pytest
import sqlalchemy as sa
from machines import Machine

from jupyter_mlops.core.records import NewRun, RunKind

pytestmark = pytest.mark.slow

STEPS = 5000
LOGGER = """
import sys
import jupyter_mlops as mlops
mlops.set_experiment("shared")
with mlops.start_run(run_name=sys.argv[1]):
    for step in range(1000):
        mlops.log_metric("loss", step, step=step)
        if step % 100 == 0:
            mlops.log_text(f"{step} of {sys.argv[1]}", f"{step}.txt")
"""


def test_eight_writers_beside_readers_and_collection(machine: Machine) -> None:
    script = machine.work / "logger.py"
    script.write_text(LOGGER)
    machine.run("run", machine.notebook("1", name="victim"))
    victim = machine.the_run()["run_id"]
    writers = [machine.start(script, f"writer-{number}") for number in range(8)]
    rounds = 0
    while rounds == 0 or any(writer.poll() is None for writer in writers):
        for words in ("delete", victim), ("restore", victim), ("list",):
            machine.run("runs", *words)
        machine.run("gc", "--yes", "--older-than", "1d")
        rounds += 1
    said = [writer.communicate() for writer in writers]
    assert said == [("", "")] * 8
    runs = [run for run in machine.runs() if run["run_id"] != victim]
    assert len(runs) == 8
    for run in runs:
        assert run["status"] == "FINISHED"
        assert machine.points(run["run_id"], "loss") == [(step, float(step)) for step in range(1000)]
        assert len(machine.json("artifacts", "list", run["run_id"])) == 10
    machine.assert_clean()


def test_two_resumes_of_one_sweep_run_each_point_once(machine: Machine) -> None:
    cell = "import pathlib, time\nassert pathlib.Path('go').exists()"
    machine.run("sweep", machine.notebook(cell, parameters="x = 0"), "--grid", "x=1,2", status=1)
    (machine.work / "go").touch()
    sweep = machine.runs()[0]["run_id"]
    both = [machine.mlops("sweep", "--resume", sweep, "--jobs", "1") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert 0 in {process.returncode for process in both}, said
    assert all("Traceback" not in errors for _, errors in said)
    assert sorted(run["status"] for run in machine.runs()) == ["FAILED"] * 2 + ["FINISHED"] * 3


MOVER = """
import sys
from jupyter_mlops.tracker.connect import connect
with connect() as tracker:
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(20):
        tracker.models.set_alias("model", "production", 1 + (turn + int(sys.argv[1])) % 3)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, machine: Machine) -> str:
    """The URL of a store of each kind, which the machine's processes use."""
    machine.home.mkdir()
    kind = request.param
    found = (
        str(request.getfixturevalue("postgres_url")) if kind == "postgresql" else f"sqlite:///{machine.home}/mlops.db"
    )
    machine.environment["MLOPS_TRACKING_URL"] = found
    return found


@pytest.mark.usefixtures("shared")
def test_moves_of_one_alias_make_one_history(machine: Machine) -> None:
    script = machine.work / "mover.py"
    script.write_text(MOVER)
    with machine.tracker() as tracker:
        experiment = tracker.experiments.ensure("shared")
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, kind=RunKind.SESSION))
        tracker.artifacts.put(
            run.run_id, "model/MLmodel", BytesIO(b"flavors:\n  sklearn:\n    serialization_format: skops\n")
        )
        for _ in range(3):
            tracker.models.register("model", run.run_id, "model")
        movers = [machine.start(script, str(number), stdin=subprocess.PIPE) for number in range(3)]
        for mover in movers:
            assert mover.stdout is not None
            assert mover.stdout.readline() == "ready\n", mover.communicate()
        said = [mover.communicate("go\n", timeout=60) for mover in movers]
        assert [errors for _, errors in said] == [""] * 3
        moves = tracker.models.alias_history("model", "production")
    # Where an alias is already, it is not moved.
    assert 20 <= len(moves) <= 60
    assert all(move.version != move.replaced for move in moves)
    assert [move.replaced for move in moves] == [None, *(move.version for move in moves[:-1])]


def test_a_server_that_cuts_connections_loses_and_repeats_nothing(machine: Machine, postgres_url: str) -> None:
    machine.environment["MLOPS_TRACKING_URL"] = postgres_url
    machine.run("runs", "list")
    script = machine.work / "logger.py"
    script.write_text(LOGGER.replace("1000", str(STEPS)))
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    cut = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    over = threading.Event()
    ended = 0

    def cutting() -> None:
        nonlocal ended
        while not over.wait(0.2):
            with engine.connect() as connection:
                ended += connection.execute(cut).scalar_one()

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        writers = [machine.start(script, f"writer-{number}") for number in range(2)]
        for writer in writers:
            _, errors = writer.communicate(timeout=120)
            assert "Traceback" not in errors
            assert writer.returncode == 0
    finally:
        over.set()
        thread.join()
    assert ended
    runs = [run for run in machine.runs() if run["name"].startswith("writer")]
    assert [run["status"] for run in runs] == ["FINISHED"] * 2
    for run in runs:
        assert machine.points(run["run_id"], "loss") == [(step, float(step)) for step in range(STEPS)]
        assert len(machine.json("artifacts", "list", run["run_id"])) == STEPS // 100
    machine.assert_clean()
