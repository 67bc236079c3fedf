"""Recording a notebook run against plain papermill, on the example notebook."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison, in_turn, shell

EXAMPLE = Path(__file__).parent.parent / "examples" / "breast-cancer.ipynb"


def compare(quick: bool) -> Iterator[Comparison]:
    """All comparisons of this suite; ``quick`` shrinks them to see that they run."""
    pairs = 1 if quick else 7
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shutil.copy(EXAMPLE, folder / "example.ipynb")
        scripts = Path(sys.executable).parent
        env = {"MLOPS_HOME": str(folder / "home"), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        plain = ["papermill", "example.ipynb", "plain.ipynb", "--no-progress-bar"]
        recorded = ["papermill", "--engine", "mlops", "example.ipynb", "recorded.ipynb", "--no-progress-bar"]
        ours = ["jupyter-mlops", "run", "example.ipynb"]
        yield Comparison(
            "papermill --engine mlops",
            "shell to shell",
            *in_turn(
                lambda: shell(recorded, cwd=folder, env=env), lambda: shell(plain, cwd=folder, env=env), pairs=pairs
            ),
            goal="at most 3 % more CPU and 60 ms",
            peer_name="papermill",
            note="the kernel's CPU is counted too; without a run around it the example records nothing when papermill "
            "runs it plainly",
        )
        yield Comparison(
            "jupyter mlops run",
            "shell to shell",
            *in_turn(lambda: shell(ours, cwd=folder, env=env), lambda: shell(plain, cwd=folder, env=env), pairs=pairs),
            goal=">= 1.3x",
            peer_name="papermill",
        )
        yield _in_one_process(folder, 1 if quick else 9)


def _in_one_process(folder: Path, pairs: int) -> Comparison:
    """The same overhead with imports out of the picture: many runs from one process."""
    import papermill

    os.environ["MLOPS_HOME"] = str(folder / "home")

    def execute(engine: str | None, output: str) -> None:
        papermill.execute_notebook(
            folder / "example.ipynb", folder / output, engine_name=engine, progress_bar=False, cwd=str(folder)
        )

    return Comparison(
        "papermill.execute_notebook(engine_name='mlops')",
        "a run, many in one process",
        *in_turn(lambda: execute("mlops", "recorded.ipynb"), lambda: execute(None, "plain.ipynb"), pairs=pairs),
        goal="at most 3 % more CPU and 60 ms",
        peer_name="papermill",
    )
