"""Secrets where nobody looks for them: beside the outputs of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.records import ReasonKind, Run, RunStatus
from tests.notebook_files import files_with

pytestmark = pytest.mark.slow

SECRET = "swordfish-4711"


@pytest.fixture(autouse=True)
def password(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A secret in the environment that kernels get."""
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    yield
    assert files_with(SECRET, home) == []


WIDGET = """\
import os
from comm import create_comm
state = {"_model_name": "TextModel", "_model_module": "controls", "value": os.environ["DATABASE_PASSWORD"]}
create_comm(target_name="jupyter.widget", data={"state": state}, metadata={"version": "2.1.0"})
"""


def test_the_state_of_widgets_shows_none(record: Callable[..., Run], executed: Callable[[Run], dict[str, Any]]) -> None:
    run = record(WIDGET)
    assert run.status is RunStatus.FINISHED, run.reason
    kept = executed(run)["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert [(each["model_name"], each["state"]["value"]) for each in kept.values()] == [("TextModel", "[redacted]")]


METADATA = """\
import os
from IPython.display import display, update_display
display({"text/plain": "a"}, metadata={"text/plain": os.environ["DATABASE_PASSWORD"]}, raw=True, display_id="a")
display({"text/plain": "b"}, raw=True, display_id="b")
update_display({"text/plain": "b"}, metadata={"c": os.environ["DATABASE_PASSWORD"]}, raw=True, display_id="b")
"""


def test_the_metadata_of_outputs_show_none(
    record: Callable[..., Run], executed: Callable[[Run], dict[str, Any]]
) -> None:
    run = record(METADATA)
    assert run.status is RunStatus.FINISHED
    outputs = executed(run)["cells"][0]["outputs"]
    assert [output["metadata"] for output in outputs] == [{"text/plain": "[redacted]"}, {"c": "[redacted]"}]


def test_the_last_words_of_a_kernel_show_none(record: Callable[..., Run]) -> None:
    run = record(
        "import os\nos.write(2, b'cannot connect with ' + os.environ['DATABASE_PASSWORD'].encode())\nos._exit(3)"
    )
    assert run.reason is not None
    assert run.reason.kind is ReasonKind.KERNEL_DIED
    assert run.reason.traceback is not None
    assert "cannot connect with [redacted]" in run.reason.traceback
