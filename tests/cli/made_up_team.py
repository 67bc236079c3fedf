"""A made-up team's work, and how its tests call the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import Result

from jupyter_mlops.core.records import (
    Batch,
    Input,
    Metric,
    NewRun,
    Param,
    Progress,
    Reason,
    Run,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.tracker.protocol import Tracker

START = 1_740_000_000_000
HOSTILE = "\x1b[2J\x1b]52;c;ZXZpbA==\x07"
"""Clears a terminal and writes its clipboard, when a terminal gets to see it."""

Mlops = Callable[..., Result]


def document(result: Result) -> Any:
    """What ``--json`` printed; strict about the words that JSON lacks."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(result.stdout, parse_constant=refuse)


def notebook(learning_rate: float, *, failed: bool = False) -> bytes:
    outputs: list[dict[str, Any]] = [
        {"output_type": "stream", "name": "stdout", "text": ["epoch 1\repoch 2\n", f"evil {HOSTILE}\n"]},
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"image/png": "aGVsbG8gd29ybGQh", "text/plain": "<Figure>"},
        },
    ]
    if failed:
        outputs = [
            {
                "output_type": "error",
                "ename": "ValueError",
                "evalue": "too small",
                "traceback": ["\x1b[31mValueError\x1b[0m: too small"],
            }
        ]
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# Churn\n", "what we do"]},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {"tags": ["parameters"]},
            "execution_count": 1,
            "source": f"lr = {learning_rate}",
            "outputs": [],
        },
        {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": 2, "source": "fit()", "outputs": outputs},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


@dataclass
class Team:
    """What is in the store."""

    tracker: Tracker
    tmp_path: Path
    minute: int = 0
    runs: dict[str, Run] = field(default_factory=dict)

    def run(
        self,
        name: str,
        *,
        experiment: str = "churn",
        status: RunStatus = RunStatus.FINISHED,
        kind: RunKind = RunKind.NOTEBOOK,
        params: dict[str, Any] | None = None,
        metrics: dict[str, list[float]] | None = None,
        tags: dict[str, str] | None = None,
        inputs: tuple[Input, ...] = (),
        parent: Run | None = None,
        reason: Reason | None = None,
        progress: Progress | None = None,
        hidden_state: str | None = None,
    ) -> Run:
        """A run of ten seconds that began a minute after the one before."""
        self.minute += 1
        start = START + self.minute * 60_000
        points = [
            Metric(key, value, start + step, step)
            for key, values in (metrics or {}).items()
            for step, value in enumerate(values)
        ]
        batch = Batch(
            params=tuple(Param(key, value, str(value)) for key, value in (params or {}).items()),
            metrics=tuple(points),
            tags=tuple(Tag(key, value) for key, value in (tags or {}).items()),
            inputs=inputs,
        )
        run = self.tracker.runs.create(
            NewRun(
                experiment_id=self.tracker.experiments.ensure(experiment).experiment_id,
                kind=kind,
                name=name,
                start_time=start,
                parent_run_id=parent.run_id if parent else None,
                source="/home/ann/churn.ipynb",
                hidden_state=hidden_state,
                batch=batch,
            )
        )
        end = start + 10_000 if status.ended else None
        change = RunChange(status=status, reason=reason, end_time=end, progress=progress)
        run = self.tracker.runs.change(run.run_id, change)
        self.runs[name] = run
        return run

    def file(self, run: Run, path: str, content: bytes) -> None:
        local = self.tmp_path / "upload"
        local.write_bytes(content)
        self.tracker.artifacts.put(run.run_id, path, local)

    def model(self, run: Run, path: str) -> None:
        self.file(run, f"{path}/MLmodel", b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")
        self.file(run, f"{path}/weights.bin", bytes(1500))
