"""``jupyter mlops quota`` and ``jupyter mlops retention``."""

from __future__ import annotations

import getpass
import io
import json
from pathlib import Path

import pytest
from made_up_team import Mlops, Team

from jupyter_mlops.core.errors import InvalidValue, QuotaExceeded
from jupyter_mlops.core.formats import parse_size
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import Batch, Metric
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Log, target_of

ME = getpass.getuser()


def test_a_quota_is_set_seen_and_taken_back(mlops: Mlops, team: Team) -> None:
    assert "everybody may have as much as there is room for" in mlops("quota", "list").output
    assert mlops("quota", "set", "*", "--bytes", "1kB", "--runs", "1000").stdout == (
        "every user may have 1 kB of files, 1,000 runs.\n"
    )
    assert mlops("quota", "set", "group:*", "--file-bytes", "2GB").stdout == (
        "every group may have 2 GB in one file.\n"
    )
    listed = mlops("quota", "list").stdout
    assert all(word in listed for word in ("every user", "1 kB", "1,000", "every group", "2 GB"))
    (standing,) = json.loads(mlops("quota", "--json").stdout)
    assert (standing["owner"], standing["subject"], standing["quota"]) == (ME, "*", {"bytes": 1000, "runs": 1000})
    assert standing["usage"]["runs"] == len(team.runs)
    run = team.runs["calm-heron-7"]
    mlops("quota", "set", ME, "--bytes", str(standing["usage"]["bytes"] + 1))
    assert f"{ME!r} uses 99 % of its quota" in mlops("quota").output
    (found,) = [each for each in json.loads(mlops("doctor", "--json").stdout) if each["what"] == "quota"]
    assert (found["state"], "uses 99 %" in found["told"]) == ("doubtful", True)
    with pytest.raises(QuotaExceeded, match="no room for this"):
        team.tracker.artifacts.put(run.run_id, "more", io.BytesIO(b"xx"))
    assert mlops("quota", "set", ME).stdout == f"{ME} may have as much as there is room for.\n"
    team.tracker.artifacts.put(run.run_id, "more", io.BytesIO(b"xx"))
    assert mlops("quota", "remove", ME).stdout == f"{ME} has no quota of its own any more.\n"
    assert "no quota of its own" in mlops("quota", "remove", ME, code=1).output
    assert "no size" in mlops("quota", "set", ME, "--bytes", "much", code=2).output
    assert mlops("quota", "recount").stdout == "Counted; 0 counters were wrong.\n"
    assert [row["owner"] for row in json.loads(mlops("quota", "--all", "--json").stdout)] == [ME]


def test_what_waits_for_room_keeps_no_command_from_working(mlops: Mlops, team: Team, home: Path) -> None:
    run = team.runs["calm-heron-7"]
    writer = SpoolWriter(home / "spool", target=target_of(team.tracker.url))
    writer.append(Log(run.run_id, Batch(metrics=(Metric("late", 1.0, 1),))))
    writer.close()
    team.tracker.quotas.set(ME, Quota(points=0))
    said = mlops("runs", "list")
    assert "calm-heron-7" in said.stdout
    assert f"could not be stored: the quota of {ME!r} for metric points is 0" in said.stderr
    team.tracker.quotas.set(ME, None)
    mlops("runs", "list")
    assert "late" in {metric.key for metric in team.tracker.runs.get(run.run_id).metrics}


@pytest.mark.usefixtures("team")
def test_runs_past_their_time_are_told_and_deleted(mlops: Mlops) -> None:
    assert "No rule was set" in mlops("retention", "list").output
    told = mlops("retention", "set", "*", "--days", "365", "--failed-days", "14", "--keep-best", "3", "--metric", "auc")
    assert told.stdout == (
        "Of every user: runs are deleted 365 days after their end; those that failed or were killed after 14 days; "
        "the 3 with the greatest auc of each experiment are kept.\n"
    )
    assert "365 days" in mlops("retention", "list").stdout
    mlops("retention", "set", ME, "--failed-days", "1")
    shown = mlops("retention", "--dry-run").stdout
    # The team's work is of another year; the sweep stays with those of its runs that did not fail.
    assert all(word in shown for word in ("sad-newt-1", "depth-7", "it failed", f"Would delete 2 runs (2 of {ME})"))
    assert "1 past their time are kept" in shown
    found = json.loads(mlops("retention", "--dry-run", "--owner", ME, "--json").stdout)
    assert {each["name"] for each in found["listed"]} == {"sad-newt-1", "depth-7"}
    assert "not confirmed" in mlops("retention", input="n\n", code=1).output
    assert "goes with --dry-run" in mlops("retention", "--owner", ME, code=2).output
    assert mlops("retention", "--yes").stdout.endswith(f"Deleted 2 runs (2 of {ME}). 1 past their time are kept.\n")
    assert mlops("retention", "--yes").stdout == "Deleted 0 runs. 1 past their time are kept.\n"
    mlops("runs", "restore", "sad-newt-1")
    assert mlops("retention", "remove", ME).stdout == f"{ME} has no rule of its own any more.\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("12", 12), ("1kB", 1000), ("1.5 GB", 1_500_000_000), ("2TB", 2 * 10**12), ("3m", 3_000_000)],
)
def test_sizes_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e3", "1 2", "1KiB", "1.5.2GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="no size"):
        parse_size(text)
