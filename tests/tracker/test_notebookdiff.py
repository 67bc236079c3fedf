"""How the code of notebooks differs: nbdime's answer, and sentences where there is none."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from nbdime import patch_notebook
from nbformat import from_dict

from jupyter_mlops.tracker import notebookdiff
from jupyter_mlops.tracker.notebookdiff import compared, of_cells, sources

BEFORE = of_cells([("markdown", "# Churn"), ("code", "depth = 3\nfit(depth)"), ("code", "score()")])
AFTER = of_cells([("markdown", "# Churn"), ("code", "depth = 5\nfit(depth)"), ("code", "plot()"), ("code", "score()")])


def test_what_differs_is_what_makes_the_one_of_the_other() -> None:
    text, changes = compared(BEFORE, AFTER)
    assert (changes.base, changes.note) == (BEFORE, "")
    assert patch_notebook(from_dict(changes.base), entries(changes.diff)) == from_dict(AFTER)
    for line in ("depth = 3", "depth = 5", "plot()"):
        assert line in text
    assert "score()" not in text


def entries(diff: Any) -> Any:
    """Of JSON, as nbdime's Python has them."""
    from nbdime.diff_utils import to_diffentry_dicts

    return to_diffentry_dicts(diff)


def test_equal_ones_say_so() -> None:
    text, changes = compared(BEFORE, BEFORE)
    assert (text, changes.diff, changes.note) == ("", [], "the code of the notebooks is the same")


def test_only_the_code_of_a_notebook_counts() -> None:
    cell = {"cell_type": "code", "source": ["a\n", "b"], "outputs": [{"output_type": "stream"}], "metadata": {"x": 1}}
    assert sources(json.dumps({"cells": [cell], "nbformat": 4}).encode()) == of_cells([("code", "a\nb")])
    for other in (b"", b"[]", b'{"cells": 1}', b'{"cells": [{"source": 1}]}', b'{"worksheets": []}'):
        assert sources(other) is None


@pytest.mark.parametrize("large", [of_cells([("code", "x")] * 1001), of_cells([("code", "x" * (512 * 1024 + 1))])])
def test_a_huge_one_is_a_sentence(large: dict[str, Any]) -> None:
    text, changes = compared(BEFORE, large)
    assert (text, changes.base, changes.diff) == ("", None, None)
    assert "too large to be compared here" in changes.note


def hostile(seed: int) -> dict[str, Any]:
    """Two of them nbdime would compare for hours."""
    chance = random.Random(seed)
    return of_cells([("code", "".join(chance.choices("ab\n", k=500))) for _ in range(1000)])


def test_one_that_would_take_hours_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebookdiff, "SECONDS", 1.0)
    text, changes = compared(hostile(1), hostile(2))
    assert (text, changes.diff) == ("", None)
    assert changes.note == "comparing the notebooks took too much time or memory"


def test_nor_does_it_use_a_processor_for_hours() -> None:
    pair = json.dumps({"before": hostile(1), "after": hostile(2)}).encode()
    code = "from jupyter_mlops.tracker import notebookdiff as limits; limits.CPU_SECONDS = 1; limits.main()"
    done = subprocess.run([sys.executable, "-c", code], input=pair, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_without_nbdime_there_is_the_text_of_a_diff() -> None:
    pair = json.dumps({"before": BEFORE, "after": AFTER}).encode()
    code = "import sys; sys.modules['nbdime'] = None; from jupyter_mlops.tracker.notebookdiff import main; main()"
    done = subprocess.run([sys.executable, "-c", code], input=pair, capture_output=True, check=True)
    found = msgspec.json.decode(done.stdout)
    assert found["diff"] is None
    assert "-depth = 3\n+depth = 5" in found["text"]


def test_what_was_compared_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compared(BEFORE, AFTER)
    monkeypatch.setattr(notebookdiff.subprocess, "run", None)
    assert compared(BEFORE, AFTER) == first
