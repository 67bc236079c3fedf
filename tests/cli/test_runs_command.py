"""``jupyter mlops runs``."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from made_up_team import HOSTILE, Mlops, Team, document, notebook

from jupyter_mlops.cli.terminal import output_text
from jupyter_mlops.core.records import Batch, NewRun, Progress, RunStatus, Tag


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_an_empty_store_says_what_to_do_first(mlops: Mlops) -> None:
    result = mlops("runs", "list")
    assert result.stdout == ""
    assert "jupyter mlops run NOTEBOOK.ipynb" in result.stderr
    assert document(mlops("runs", "list", "--json")) == []


def test_list_shows_what_tells_runs_apart(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "list", "params.kind = 'rf'")
    header, *rows = lines(result.stdout)[1:]
    assert header.split() == [
        "name",
        "status",
        "experiment",
        "by",
        "started",
        "took",
        "kind",
        "lr",
        "auc",
        "rows",
        "reason",
        "notebook",
        "id",
    ]
    assert [row.split()[0] for row in rows] == ["sad-newt-1", "brave-otter-418", "calm-heron-7"]
    assert "cell 3: ValueError: too small" in rows[0]
    assert "0.97" in rows[1]
    assert "churn.ipynb" in rows[1]


def test_list_folds_sweeps_and_unfolds_them(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "list")
    assert "grid-search ▸3" in result.stdout
    assert "✗ failed (1 of 3)" in result.stdout
    assert "depth-3" not in result.stdout
    unfolded = lines(mlops("runs", "list", "--children").stdout)
    place = next(i for i, line in enumerate(unfolded) if line.startswith("grid-search"))
    assert [line.split()[1] for line in unfolded[place + 1 : place + 4]] == ["depth-3", "depth-5", "depth-7"]


def test_a_folded_sweep_has_the_values_of_its_best_run(mlops: Mlops, team: Team) -> None:
    best = Tag("mlops.sweep.best", team.runs["depth-5"].run_id)
    team.tracker.runs.log(team.runs["grid-search"].run_id, Batch(tags=(best,)))
    result = mlops("runs", "list", "--experiment", "churn")
    row = next(line for line in lines(result.stdout) if line.startswith("grid-search"))
    assert "0.8500" in row
    assert "its values are those of the best" in result.stderr
    assert ["best", "depth-5"] in [line.split() for line in lines(mlops("runs", "show", "grid-search").stdout)]


def test_a_limit_counts_lines_and_says_that_there_is_more(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "list", "--limit", "2")
    assert len(lines(result.stdout)) == 2 + 2
    assert "more than 2" in result.stderr
    assert "more than" not in mlops("runs", "list", "--limit", "6").stderr


def test_a_child_of_another_experiment_has_a_line_of_its_own(mlops: Mlops, team: Team) -> None:
    team.run("stray", experiment="odd", parent=team.runs["grid-search"])
    assert "stray" in mlops("runs", "list", "--experiment", "odd").stdout


def test_a_filter_finds_children_too(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "list", "metrics.auc > 0.8", "--order-by", "metrics.auc DESC", "-n", "3", "--json")
    assert [run["name"] for run in document(result)] == ["brave-otter-418", "calm-heron-7", "depth-5"]


def test_what_is_asked_for_is_shown_first_and_whatever_the_room(
    mlops: Mlops, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = ["runs", "list", "params.kind = 'rf' and tags.team = 'growth'", "--order-by", "metrics.rows"]
    names = lines(mlops(*search).stdout)[1].split()
    assert names[6:11] == ["kind", "lr", "rows", "auc", "team"]
    monkeypatch.setenv("TERM", "xterm-256color")  # of a dumb one the width is not asked
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "56")
    names = output_text(lines(mlops(*search).stdout)[1]).split()
    assert names == ["name", "status", "kind", "rows", "team"]


def test_a_filter_that_does_not_parse_is_usage(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "list", "metrics.auc >> 1", code=2)
    assert result.stdout == ""
    assert len(lines(result.stderr)) >= 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_an_unknown_experiment_is_an_error(mlops: Mlops, team: Team) -> None:
    assert "experiments list" in mlops("runs", "list", "-e", "nope", code=1).stderr
    assert "did you mean 'churn'" in mlops("runs", "list", "-e", "chrn", code=1).stderr


def test_hidden_state_is_marked(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "list", "-e", "odd")
    assert "⚠" in result.stdout
    assert "not in the record" in result.stderr


def test_control_characters_never_reach_the_terminal(mlops: Mlops, team: Team) -> None:
    evil = next(run.run_id for name, run in team.runs.items() if name.startswith("evil"))
    for words in (
        ["runs", "list", "params.word LIKE '%'"],
        ["runs", "show", evil],
        ["runs", "notebook", "calm-heron-7"],
    ):
        output = mlops(*words).output
        assert "\x1b" not in output
        assert "\x07" not in output
        assert "\u202e" not in output
        assert "\\x1b[2J" in output


def test_show_tells_all(mlops: Mlops, team: Team) -> None:
    run = team.runs["brave-otter-418"]
    team.tracker.runs.comment(run.run_id, "the best so far")
    mlops("runs", "note", run.run_id, "A **good** one")
    text = mlops("runs", "show", "brave-otter-418").stdout
    for part in (
        run.run_id,
        "✓ finished",
        "churn.ipynb",
        "1234abcd with uncommitted changes",
        "10.0 s",
        "0.97",
        "▁",
        "churn-march",
        "abc123",
        "growth",
        "figures/roc.png",
        "1.5 kB",
        "A **good** one",
        "the best so far",
    ):
        assert part in text
    assert "mlops.git" not in text


def test_show_says_who_submitted_a_run(mlops: Mlops, team: Team) -> None:
    churn = team.tracker.experiments.find("churn").experiment_id
    run = team.tracker.runs.create(NewRun(experiment_id=churn, name="visited", submitted_by="eve"))
    assert f"{run.user} (submitted by eve, not verified)" in mlops("runs", "show", "visited").stdout
    assert document(mlops("runs", "show", "visited", "--json"))["run"]["submitted_by"] == "eve"


def test_show_says_why_a_run_failed(mlops: Mlops, team: Team) -> None:
    text = mlops("runs", "show", "sad-newt-1").stdout
    assert "cell error in cell 3 (In [2]): ValueError: too small" in text
    assert "│ fit()" in text
    assert "Traceback" in text


def test_show_of_a_sweep_lists_its_runs(mlops: Mlops, team: Team) -> None:
    text = mlops("runs", "show", "grid-search").stdout
    assert "depth-5" in text
    assert "grid-search" in mlops("runs", "show", "depth-5").stdout


def test_show_as_json_is_the_record(mlops: Mlops, team: Team) -> None:
    page = document(mlops("runs", "show", "calm-heron-7", "--json"))
    assert page["run"]["run_id"] == team.runs["calm-heron-7"].run_id
    assert page["experiment"]["name"] == "churn"
    assert page["curves"]["auc"] == [0.5, 0.7, 0.91]
    odd = document(mlops("runs", "show", "odd-values", "--json"))["run"]
    assert {metric["key"]: metric["value"] for metric in odd["metrics"]} == {"nan": "NaN", "inf": "-Infinity"}


def test_a_run_is_named_by_a_prefix_of_its_id(mlops: Mlops, team: Team) -> None:
    run = team.runs["calm-heron-7"]
    others = [other.run_id for other in team.runs.values() if other is not run]
    prefix = next(run.run_id[:n] for n in range(4, 33) if not any(o.startswith(run.run_id[:n]) for o in others))
    assert run.run_id in mlops("runs", "show", prefix).stdout


def test_an_unknown_run_is_an_error(mlops: Mlops, team: Team) -> None:
    result = mlops("runs", "show", "nobody", code=1)
    assert result.stderr.startswith("Error: ")
    assert "nobody" in result.stderr


def test_a_name_that_fits_several_runs_is_usage(mlops: Mlops, team: Team) -> None:
    second = team.run("calm-heron-7")
    result = mlops("runs", "show", "calm-heron-7", code=2)
    assert second.run_id in result.stderr


def test_show_says_how_long_cells_took(mlops: Mlops, team: Team) -> None:
    times = [{"index": 1, "seconds": 0.5, "id": "b"}, {"index": 2, "seconds": 2.0, "status": "completed"}]
    team.file(team.runs["calm-heron-7"], "notebook/cells.json", json.dumps(times).encode())
    text = mlops("runs", "show", "calm-heron-7").stdout
    assert "2 ran in 2.50 s; the slowest: cell 3 2.00 s, cell 2 0.50 s" in text


def test_notices_are_shown(mlops: Mlops, team: Team) -> None:
    team.run("noted", tags={"mlops.notice": "the kernel has no jupyter_mlops", "mlops.dropped": "7"})
    text = mlops("runs", "show", "noted").stdout
    assert "the kernel has no jupyter_mlops" in text
    assert "7 logging calls were lost" in text


def test_compare_parts_what_is_the_same_from_what_differs(mlops: Mlops, team: Team) -> None:
    for name, version in (("calm-heron-7", "1.26"), ("brave-otter-418", "2.1")):
        lock = f"# CPython 3.11\nnumpy=={version}\npandas==2.2\n-e file:///src  # mine\nother @ git+https://x/y@abc\n"
        team.file(team.runs[name], "environment/requirements.txt", lock.encode())
    text = mlops("runs", "compare", "calm-heron-7", "brave-otter-418").stdout
    same, differs = text.split("\n\n", 1)
    assert "kind rf, seed 42" in same
    assert "churn-march abc123" in same
    rows = {line.split()[0]: line.split()[1:] for line in lines(differs)}
    assert rows["lr"] == ["0.1", "0.01"]
    assert rows["auc"] == ["0.9100", "0.9700", "+0.06"]
    assert rows["numpy"] == ["1.26", "2.1"]
    assert "pandas" not in text
    found = document(mlops("runs", "compare", "calm-heron-7", "brave-otter-418", "--json"))
    assert found["differs"]["params.lr"] == [0.1, 0.01]
    assert found["same"]["packages.mine"] == "file:///src"
    assert [run["name"] for run in found["runs"]] == ["calm-heron-7", "brave-otter-418"]


def test_compare_says_where_the_notebooks_differ(mlops: Mlops, team: Team) -> None:
    assert "notebooks differ" not in mlops("runs", "compare", "calm-heron-7", "brave-otter-418").stderr
    team.file(team.runs["calm-heron-7"], "notebook/source.ipynb", notebook(0.6))
    said = mlops("runs", "compare", "calm-heron-7", "brave-otter-418").stderr
    words = said.strip().rpartition("jupyter mlops ")[2].split()
    assert "lr = 0.6" in mlops(*words).stdout


def test_a_sweep_stands_for_its_runs(mlops: Mlops, team: Team) -> None:
    found = document(mlops("runs", "compare", "grid-search", "--json"))
    assert found["differs"]["params.depth"] == [3, 5, 7]
    assert found["differs"]["metrics.auc"] == [pytest.approx(0.83), pytest.approx(0.85), None]
    mlops("runs", "compare", "calm-heron-7", code=2)


def test_many_runs_are_compared_one_a_line(mlops: Mlops, team: Team) -> None:
    sweep = team.runs["grid-search"]
    for depth in range(10, 20):
        team.run(f"depth-{depth}", parent=sweep, params={"depth": depth}, metrics={"auc": [0.5 + depth / 100]})
    text = mlops("runs", "compare", "grid-search").stdout
    assert [line.split()[:2] for line in lines(text) if line.startswith("depth-1")] == [
        [f"depth-{depth}", str(depth)] for depth in range(10, 20)
    ]


def test_equal_runs_do_not_differ(mlops: Mlops, team: Team) -> None:
    for name in ("twin-1", "twin-2"):
        team.run(name, metrics={"nan": [math.nan], "zero": [0.0]}, params={"x": 1})
    assert "Nothing differs" in mlops("runs", "compare", "twin-1", "twin-2").stderr


def test_history_prints_points_as_logged(mlops: Mlops, team: Team) -> None:
    rows = [line.split("\t") for line in lines(mlops("runs", "history", "calm-heron-7", "auc").stdout)]
    assert [(step, value) for step, _, value in rows] == [("0", "0.5"), ("1", "0.7"), ("2", "0.91")]
    points = document(mlops("runs", "history", "odd-values", "inf", "--json"))
    assert [point["value"] for point in points] == ["Infinity", "-Infinity"]


def test_history_of_an_unknown_metric_names_those_there_are(mlops: Mlops, team: Team) -> None:
    assert "it has auc, rows" in mlops("runs", "history", "calm-heron-7", "loss", code=1).stderr


def test_export_writes_every_run_and_value(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    mlops("runs", "export", "-e", "churn", "-o", "runs.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text("utf-8"))))
    assert len(rows) == 7
    best = next(row for row in rows if row["name"] == "brave-otter-418")
    assert (best["params.lr"], best["metrics.auc"], best["tags.team"]) == ("0.01", "0.97", "growth")
    assert len(document(mlops("runs", "export", "--json"))) == len(team.runs)


def test_notebook_prints_cells_and_outputs(mlops: Mlops, team: Team) -> None:
    text = mlops("runs", "notebook", "calm-heron-7").stdout
    assert "lr = 0.1" in text
    assert "#parameters" in text
    assert "[image/png, 12 B]" in text
    assert "epoch 2" in text
    assert "epoch 1" not in text
    assert "lr = 0.5" in mlops("runs", "notebook", "calm-heron-7", "--source").stdout


def test_notebook_is_saved_byte_for_byte(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    mlops("runs", "notebook", "calm-heron-7", "-o", "copy.ipynb")
    assert (tmp_path / "copy.ipynb").read_bytes() == notebook(0.1)


def test_notebooks_differ_by_their_sources(mlops: Mlops, team: Team) -> None:
    text = mlops("runs", "notebook", "calm-heron-7", "--diff", "brave-otter-418").stdout
    assert "lr = 0.1" in text
    assert "lr = 0.01" in text
    assert "fit()" not in text
    same = mlops("runs", "notebook", "calm-heron-7", "--diff", "brave-otter-418", "--source").stdout
    assert "same sources" in same
    changes = document(mlops("runs", "notebook", "calm-heron-7", "--diff", "brave-otter-418", "--json"))["changes"]
    assert [change["key"] for change in changes] == ["cells"]


def test_a_run_without_a_notebook_says_so(mlops: Mlops, team: Team) -> None:
    assert "has no notebook/executed.ipynb" in mlops("runs", "notebook", "depth-3", code=1).stderr


def test_a_failing_cells_output_is_shown(mlops: Mlops, team: Team) -> None:
    team.file(team.runs["sad-newt-1"], "notebook/executed.ipynb", notebook(1e-6, failed=True))
    assert "ValueError: too small" in mlops("runs", "notebook", "sad-newt-1").stdout


def test_what_is_no_notebook_is_an_error(mlops: Mlops, team: Team) -> None:
    team.file(team.runs["sad-newt-1"], "notebook/executed.ipynb", b'{"worksheets": []}')
    assert "--output" in mlops("runs", "notebook", "sad-newt-1", code=1).stderr


def test_delete_and_restore(mlops: Mlops, team: Team) -> None:
    deleted = mlops("runs", "delete", "grid-search")
    assert "depth-3" not in mlops("runs", "list", "--children").stdout
    assert "grid-search" in mlops("runs", "list", "--deleted").stdout
    words = deleted.stdout.strip().rpartition("jupyter mlops ")[2].split()
    mlops(*words)
    assert "depth-3" in mlops("runs", "list", "--children").stdout


def test_restore_takes_names_too(mlops: Mlops, team: Team) -> None:
    mlops("runs", "delete", "calm-heron-7")
    mlops("runs", "restore", "calm-heron-7")
    assert "calm-heron-7" in mlops("runs", "list").stdout


def test_rename_tag_note_comment(mlops: Mlops, team: Team) -> None:
    mlops("runs", "rename", "calm-heron-7", "first {try}")
    run = team.runs["calm-heron-7"].run_id
    mlops("runs", "tag", run, "stage=final", "url=a=b", "--remove", "team")
    mlops("runs", "note", run, "-", input="from a pipe\n")
    mlops("runs", "comment", run, "well done")
    found = team.tracker.runs.get(run)
    tags = {tag.key: tag.value for tag in found.tags}
    assert found.name == "first {try}"
    assert (tags["stage"], tags["url"], tags["mlflow.note.content"]) == ("final", "a=b", "from a pipe")
    assert "team" not in tags
    assert mlops("runs", "note", run).stdout == "from a pipe\n"
    assert [comment.text for comment in team.tracker.runs.comments(run)] == ["well done"]


@pytest.mark.parametrize("words", [["calm-heron-7"], ["calm-heron-7", "no-equals-sign"], ["calm-heron-7", "=value"]])
def test_a_tag_without_key_or_value_is_usage(mlops: Mlops, team: Team, words: list[str]) -> None:
    mlops("runs", "tag", *words, code=2)


def test_an_empty_comment_is_refused(mlops: Mlops, team: Team) -> None:
    mlops("runs", "comment", "calm-heron-7", " ", code=2)


def test_a_running_run_shows_how_far_it_is(mlops: Mlops, team: Team) -> None:
    team.run("long-way", status=RunStatus.RUNNING, progress=Progress(done=2, total=9))
    assert "● running 2/9" in mlops("runs", "list").stdout
    assert "so far" in mlops("runs", "show", "long-way").stdout


def test_hostile_text_is_whole_in_json(mlops: Mlops, team: Team) -> None:
    found = document(mlops("runs", "list", "-e", "odd", "--json"))
    assert [run["params"][0]["value"] for run in found if run.get("params")] == [HOSTILE]
