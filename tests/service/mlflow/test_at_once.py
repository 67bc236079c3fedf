"""Calls of many clients at once, answered by two services over one store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from tests.service.inprocess import running

WRITERS, MODELS = 6, 5


def test_no_model_is_lost_that_clients_before_3_note_at_once(database_url: str, tmp_path: Path) -> None:
    with (
        running(database_url, tmp_path / "artifacts", tmp_path) as one,
        running(database_url, tmp_path / "artifacts", tmp_path) as other,
    ):
        header = {"Authorization": f"Bearer {one.token('ann')}"}

        def ask(url: str, call: str, body: dict[str, Any]) -> Any:
            answer = requests.post(f"{url}/api/2.0/mlflow/runs/{call}", json=body, headers=header, timeout=30)
            assert answer.status_code == 200, answer.text
            return answer.json()

        run_id = ask(one.url, "create", {"experiment_id": "0"})["run"]["info"]["run_id"]

        def note(writer: int) -> None:
            url = one.url if writer % 2 else other.url
            for number in range(MODELS):
                model = {"artifact_path": f"{writer}/{number}", "run_id": run_id, "utc_time_created": "2026-01-01"}
                ask(url, "log-model", {"run_id": run_id, "model_json": json.dumps({**model, "flavors": {}})})

        with ThreadPoolExecutor(WRITERS) as writers:
            list(writers.map(note, range(WRITERS)))
        # As a client does that got no answer.
        note(0)
        tags = ask(other.url, "search", {"experiment_ids": ["0"]})["runs"][0]["data"]["tags"]
    (history,) = [json.loads(tag["value"]) for tag in tags if tag["key"] == "mlflow.log-model.history"]
    noted = [model["artifact_path"] for model in history]
    assert sorted(noted) == [f"{writer}/{number}" for writer in range(WRITERS) for number in range(MODELS)]
