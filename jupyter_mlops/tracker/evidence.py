"""What the files of runs say of them: the notebook that ran, the packages it ran with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jupyter_mlops.core.compare import Comparison, Evidence, compare
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.promotion import NotebookChanges
from jupyter_mlops.core.records import Run
from jupyter_mlops.core.reproduction import Difference, Reproduction, absent_commit, judge
from jupyter_mlops.core.run_files import LOCK, MODULES, SOURCE, UNCOMMITTED
from jupyter_mlops.tracker.notebookdiff import Notebook, compared, sources

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

MOST_RUNS = 500
LARGEST_NOTEBOOK = 20_000_000
"""Bytes of a notebook that is compared."""
LARGEST_LOCK = 5_000_000
"""Bytes of a lock file whose packages are compared: what anybody stores under its name is read into memory."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:==|@)\s*(?P<version>\S+)")
_EDITABLE = re.compile(r"-e (?P<version>\S+)\s+# (?P<name>\S+)")


def compare_runs(tracker: Tracker, run_ids: Sequence[str]) -> Comparison:
    """See :meth:`jupyter_mlops.tracker.protocol.Tracker.compare`."""
    if len(run_ids) > MOST_RUNS:
        raise InvalidValue(f"compare: {len(run_ids)} runs are too many; {MOST_RUNS} can be compared at a time")
    runs = [tracker.runs.get(run_id) for run_id in run_ids]
    return compare(runs, [evidence(tracker, run) for run in runs])


def compare_notebooks(tracker: Tracker, run_id: str, other: str) -> NotebookChanges:
    """See :meth:`jupyter_mlops.tracker.protocol.Tracker.compare_notebooks`."""
    code = [notebook_code(tracker, each) for each in (run_id, other)]
    for each, found in zip((run_id, other), code, strict=True):
        if found is None:
            raise InvalidValue(f"compare: run {each} has no notebook: none was recorded, or none that can be read")
    before, after = code
    assert before is not None
    assert after is not None
    return compared(before, after)[1]


def notebook_code(tracker: Tracker, run_id: str) -> Notebook | None:
    """The code of the source notebook of a run; None when it has none that can be read."""
    files = tracker.artifacts.walk(run_id, SOURCE)
    if [file.path for file in files] != [SOURCE] or (files[0].size or 0) > LARGEST_NOTEBOOK:
        return None
    return sources(b"".join(tracker.artifacts.open(run_id, SOURCE)))


def reproduction(
    tracker: Tracker, run_id: str, again: str, *, tolerance: float = 0.0, only: Sequence[str] = ()
) -> Reproduction:
    """The judgement on the run ``again`` as a repetition of ``run_id``. For what the rest means and raises see
    :func:`jupyter_mlops.core.reproduction.judge`."""
    comparison = compare_runs(tracker, [run_id, again])
    # What differed from a commit says nothing where the commit was not there.
    places = (MODULES,) if absent_commit(comparison) is not None else (UNCOMMITTED, MODULES)
    before, after = _code(tracker, run_id, places), _code(tracker, again, places)
    code = tuple(
        Difference(name=path, recorded=before.get(path), again=after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )
    return judge(comparison, tolerance=tolerance, only=only, code=code)


def _code(tracker: Tracker, run_id: str, places: Sequence[str]) -> dict[str, str | None]:
    """The digests of what was run beside the notebook and the commit."""
    return {file.path: file.digest for place in places for file in tracker.artifacts.walk(run_id, place)}


def evidence(tracker: Tracker, run: Run) -> Evidence:
    """What the run's files say of it."""
    notebook = next((file.digest for file in tracker.artifacts.walk(run.run_id, SOURCE)), None)
    return Evidence(notebook, _packages(tracker, run))


def _packages(tracker: Tracker, run: Run) -> dict[str, str]:
    """Versions (or origins) by name, from the run's lock file; empty when it has none that can be read."""
    files = tracker.artifacts.walk(run.run_id, LOCK)
    if [file.path for file in files] != [LOCK] or (files[0].size or 0) > LARGEST_LOCK:
        return {}
    text = b"".join(tracker.artifacts.open(run.run_id, LOCK)).decode(errors="replace")
    matches = (_REQUIREMENT.match(line) or _EDITABLE.match(line) for line in text.splitlines())
    return {match["name"].lower().replace("_", "-"): match["version"] for match in matches if match}
