"""What outputs log, by their MIME types."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.recording.outputs import MIME_TYPE, Logged, read_output


def read(data: dict[str, Any], cwd: Path = Path(), metadata: dict[str, Any] | None = None) -> Logged:
    return read_output({"output_type": "display_data", "data": data, "metadata": metadata or {}}, cwd)


def test_ordinary_outputs_log_nothing() -> None:
    assert not read({"text/plain": "1", "application/json": {"metrics": {"a": 1}}})
    assert not read_output({"output_type": "stream", "name": "stdout", "text": "x"}, Path())


def test_all_kinds_are_read(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\x00")
    logged = read(
        {
            MIME_TYPE: {
                "params": {"depth": 3, "name": "rf"},
                "metrics": {
                    "auc": 1,
                    "loss": [{"value": 0.5, "step": 7, "timestamp": 12}, {"value": "-Infinity"}, {"value": "NaN"}],
                },
                "tags": {"stage": "trial"},
                "artifacts": {"a.txt": {"text": "é"}, "b/b": {"file": "b"}, "c": {"base64": "AAE="}},
            }
        },
        tmp_path,
    )
    assert logged.problems == []
    assert [(param.key, param.value) for param in logged.params] == [("depth", 3), ("name", "rf")]
    auc, *loss = logged.metrics
    assert (auc.key, auc.value, auc.step) == ("auc", 1.0, 0)
    assert (loss[0].value, loss[0].step, loss[0].timestamp) == (0.5, 7, 12)
    assert loss[1].value == -math.inf
    assert math.isnan(loss[2].value)
    assert [(tag.key, tag.value) for tag in logged.tags] == [("stage", "trial")]
    assert logged.artifacts == {"a.txt": "é".encode(), "b/b": tmp_path / "b", "c": b"\x00\x01"}


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ([1], "not an object of objects"),
        ({"metrics": [1]}, "not an object of objects"),
        ('{"metrics": ', "text that is not JSON"),
        ("[1]", "not an object of objects"),
        ({"metric": {}}, "has 'metric'; known are params, metrics, tags, artifacts"),
        ({"metrics": {"a": "high"}}, "metric 'a'"),
        ({"metrics": {"a": [1]}}, "metric 'a': a point is"),
        ({"metrics": {"a": [{"value": 1, "step": "x"}]}}, "metric 'a'"),
        ({"params": {"": 1}}, "parameter key"),
        ({"artifacts": {"../a": {"text": "x"}}}, "artifact path"),
        ({"artifacts": {"a": {"url": "x"}}}, "'url' is unknown"),
        ({"artifacts": {"a": {}}}, "give one of"),
        ({"artifacts": {"a": {"file": "nowhere"}}}, "there is no file"),
        ({"artifacts": {"a": {"base64": "a"}}}, "not base64"),
    ],
)
def test_what_is_not_understood_is_named_and_leaves_the_rest_alone(payload: Any, problem: str) -> None:
    logged = read({MIME_TYPE: payload})
    assert len(logged.problems) == 1
    assert problem in logged.problems[0]
    if isinstance(payload, dict):
        logged = read({MIME_TYPE: {**payload, "tags": {"kept": "yes"}}})
        assert [tag.key for tag in logged.tags] == ([] if "not an object" in problem else ["kept"])


def test_a_kernel_may_send_json_as_text() -> None:
    logged = read({MIME_TYPE: '{"metrics": {"auc": 0.5}}'})
    assert [(point.key, point.value) for point in logged.metrics] == [("auc", 0.5)]


def test_scraps_become_metrics_tags_and_files() -> None:
    def scrap(name: str, data: Any, encoder: str = "json") -> dict[str, Any]:
        payload = {"name": name, "data": data, "encoder": encoder, "version": 1}
        return {f"application/scrapbook.scrap.{encoder}+json": payload}

    assert [(point.key, point.value) for point in read(scrap("auc", 0.5)).metrics] == [("auc", 0.5)]
    assert [(tag.key, tag.value) for tag in read(scrap("best", "rf", "text")).tags] == [("best", "rf")]
    assert [(tag.key, tag.value) for tag in read(scrap("done", True)).tags] == [("done", "True")]
    assert list(read(scrap("table", {"a": [1]})).artifacts) == ["scraps/table.json"]
    assert read(scrap("frame", "UEFSMQ==", "pandas")).artifacts == {"scraps/frame.parquet": b"PAR1"}
    assert [point.key for point in read({"application/papermill.record+json": {"loss": 2}}).metrics] == ["loss"]


def test_a_scraps_picture_is_a_file() -> None:
    data = {"text/plain": "<Figure>", "image/png": base64.b64encode(b"\x89PNG").decode()}
    shown = {"scrapbook": {"name": "curve", "data": False, "display": True}}
    assert read(data, metadata=shown).artifacts == {"scraps/curve.png": b"\x89PNG"}
