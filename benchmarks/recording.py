"""Recording a notebook run against plain papermill.

Each comparison is made on two notebooks: the example as it is, and *bare*, the example without its logging calls, so
that what recording from outside costs is seen by itself. (Under plain papermill the example as it is records by itself,
from inside the kernel.)
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison, in_turn, shell

EXAMPLE = Path(__file__).parent.parent / "examples" / "breast-cancer.ipynb"


def compare(quick: bool) -> Iterator[Comparison]:
    """All comparisons of this suite; ``quick`` shrinks them to see that they run."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for label, name in (("the example", "example.ipynb"), ("the bare example", "bare.ipynb")):
            (folder / name).write_text(_notebook(without_calls=name == "bare.ipynb"), encoding="utf-8")
            yield from _from_the_shell(label, name, folder, 1 if quick else 5)
            yield _in_one_process(label, name, folder, 1 if quick else 7)


def _notebook(*, without_calls: bool) -> str:
    notebook = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    if without_calls:
        for cell in notebook["cells"]:
            lines = "".join(cell["source"]).splitlines(keepends=True)
            kept = [line for line in lines if not line.strip().startswith(("mlops.", "import jupyter_mlops"))]
            cell["source"] = "".join(kept)
    return json.dumps(notebook)


def _from_the_shell(label: str, notebook: str, folder: Path, pairs: int) -> Iterator[Comparison]:
    env = {
        "MLOPS_HOME": str(folder / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    plain = ["papermill", notebook, "plain.ipynb", "--no-progress-bar"]
    recorded = ["papermill", "--engine", "mlops", notebook, "recorded.ipynb", "--no-progress-bar"]
    ours = ["jupyter-mlops", "run", notebook]
    for name, command, goal in (
        ("papermill --engine mlops", recorded, ""),
        ("jupyter mlops run", ours, ">= 1.3x"),
    ):
        yield Comparison(
            f"`{name}` on {label}",
            "shell to shell",
            *in_turn(
                lambda command=command: shell(command, cwd=folder, env=env),
                lambda: shell(plain, cwd=folder, env=env),
                pairs=pairs,
            ),
            goal=goal,
            peer_name="papermill",
        )


def _in_one_process(label: str, notebook: str, folder: Path, pairs: int) -> Comparison:
    """The same with imports out of the picture: many runs from one process."""
    import papermill

    os.environ["MLOPS_HOME"] = str(folder / "home")

    def execute(engine: str | None, output: str) -> None:
        papermill.execute_notebook(
            folder / notebook, folder / output, engine_name=engine, progress_bar=False, cwd=str(folder)
        )

    return Comparison(
        f"`papermill.execute_notebook(engine_name='mlops')` on {label}",
        "a run",
        *in_turn(lambda: execute("mlops", "recorded.ipynb"), lambda: execute(None, "plain.ipynb"), pairs=pairs),
        goal="3 % more CPU and 60 ms at most",
        peer_name="papermill",
    )
