"""Examines a hostile model in a process of its own: ``python -m tests.checks.examine_hostile FOLDER``. Prints, as JSON,
the results by check, and which forbidden files are there afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pandas
from sklearn.linear_model import LogisticRegression

from jupyter_mlops.checks.check import Subject
from jupyter_mlops.checks.sandbox import Sandbox
from jupyter_mlops.checks.worker import perform
from jupyter_mlops.core.checks import CheckJob
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.connect import connect
from tests.checks.conftest import MODEL, Registry, forbidden, made_hostile
from tests.notebook_files import write_notebook

LOAD = "import jupyter_mlops as mlops\nif candidate:\n    mlops.load_model(candidate, flavor='sklearn')"


def main(folder: Path) -> None:
    url = f"sqlite:///{folder}/mlops.db"
    with connect(url, artifacts=folder / "artifacts") as tracker:
        (folder / "models").mkdir()
        rows = pandas.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "spent": [1.0, 2.0, 3.0, 4.0]})
        model = made_hostile(LogisticRegression().fit(rows, [0, 0, 1, 1]), folder)
        version = Registry(tracker, folder / "models").version(model, rows, serialization="pickle")
        validation = record_notebook(
            tracker,
            NotebookTask(
                run_id=new_id(),
                experiment_id=tracker.experiments.ensure("validation").experiment_id,
                tracking_url=url,
                notebook=str(write_notebook(folder / "validate.ipynb", LOAD, parameters="candidate = ''")),
            ),
        )
        results = {}
        for name, settings in (("loads", {}), ("notebook", {"run": validation.run_id})):
            job = CheckJob(
                job_id=new_id(),
                request_id=new_id(),
                model=MODEL,
                version=version.version,
                alias="production",
                name=name,
                settings=settings,
            )
            with Sandbox() as sandbox:
                results[name] = msgspec.to_builtins(perform(Subject(tracker, job, sandbox)))
    there = [str(place) for place in forbidden(folder) if place.exists()]
    sys.stdout.write(json.dumps({"results": results, "there": there}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
