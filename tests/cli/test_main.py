"""The command line as a program: errors, exit codes, interrupts, pipes, completion."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec
import psutil
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from made_up_team import Mlops, Team, document, notebook

from jupyter_mlops.cli.main import COMPLETE_VARIABLE, SCRIPT, failures, root
from jupyter_mlops.core import errors
from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.process import this_runner
from tests.service.inprocess import running

PROGRAM = (sys.executable, "-m", "jupyter_mlops")


def offered(*words: str) -> list[str]:
    """What a shell offers for the last word."""
    completion = ShellComplete(root, {}, SCRIPT, COMPLETE_VARIABLE)
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidValue("no such value"), 2),
        (errors.FilterError("no such filter"), 2),
        (errors.NotFound("nothing there"), 1),
        (errors.Unavailable("the database sleeps"), 1),
        (errors.RunFailed("the run failed", "abc"), 1),
        (PermissionError(13, "Permission denied", "/data/x"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_exit_codes(error: BaseException, code: int) -> None:
    with pytest.raises(click.ClickException) as raised, failures():
        raise error
    assert raised.value.exit_code == code


def test_an_error_is_one_harmless_line(mlops: Mlops) -> None:
    said = mlops("runs", "show", "ab\x1b[2Jcd", code=2).stderr
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_a_bug_is_not_hidden(mlops: Mlops) -> None:
    with pytest.raises(ZeroDivisionError), failures():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "words", [["nonsense"], ["runs", "nonsense"], ["runs", "list", "--nonsense"], ["runs", "show"]]
)
def test_what_does_not_exist_is_usage(mlops: Mlops, words: list[str]) -> None:
    assert "Usage: jupyter mlops" in mlops(*words, code=2).stderr


def test_an_unknown_notebook_file_is_an_error(mlops: Mlops, team: Team) -> None:
    said = mlops("runs", "notebook", "calm-heron-7", "-o", "no/such/folder/x.ipynb", code=1).stderr
    assert "no/such/folder" in said


def test_completion_offers_commands_and_names(team: Team) -> None:
    assert offered("ru") == ["run", "runs"]
    assert offered("runs", "show", "calm") == ["calm-heron-7"]
    assert "calm-heron-7" in offered("runs", "compare", "depth-3", "")
    run = team.runs["calm-heron-7"].run_id
    assert run in offered("runs", "show", run[:4])
    assert offered("runs", "list", "--experiment", "ch") == ["churn"]
    assert "--children" in offered("runs", "list", "--ch")


def test_completion_offers_nothing_hostile(team: Team) -> None:
    assert not [name for name in offered("runs", "show", "") if name.startswith("evil")]


def test_completion_without_a_store_is_silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_TRACKING_URL", "mysql://nowhere/x")
    assert offered("runs", "show", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(mlops: Mlops, shell: str) -> None:
    script = mlops("completion", shell).stdout
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in script
    assert SCRIPT in script


def test_completion_of_an_unknown_shell_is_usage(mlops: Mlops) -> None:
    mlops("completion", "cmd", code=2)


def test_lost_runs_are_told_and_marked(mlops: Mlops, team: Team) -> None:
    from jupyter_mlops.core.records import RunChange, RunStatus
    from jupyter_mlops.tracker.process import start_time, this_runner

    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = start_time(ended.pid)
    ended.wait()
    runner = this_runner()
    lost = type(runner)(host=runner.host, boot_id=runner.boot_id, pid=ended.pid, started=started or 0.0)
    run = team.run("left-alone", status=RunStatus.RUNNING)
    team.tracker.runs.change(run.run_id, RunChange(runner=lost))
    result = mlops("runs", "list", "--json")
    assert "left-alone" in result.stderr
    listed = next(found for found in document(result) if found["name"] == "left-alone")
    assert (listed["status"], listed["reason"]["kind"]) == ("FAILED", "runner lost")


# --- as a process ----------------------------------------------------------------------------------------------------


def jupyter() -> list[str]:
    return [sys.executable, "-m", "jupyter", "mlops"]


@pytest.mark.slow
def test_jupyter_finds_the_command(home: Path) -> None:
    script = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{script}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run([*jupyter(), "--version"], env=environment, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"jupyter-mlops, version \d+\..*\n", ended.stdout)
    module = subprocess.run(
        [sys.executable, "-m", "jupyter_mlops", "--help"], capture_output=True, text=True, check=True
    )
    assert module.stdout.startswith("Usage: jupyter mlops")


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(team: Team) -> None:
    for number in range(60):
        team.run(f"run-{number}-" + "x" * 200)
    command = [sys.executable, "-m", "jupyter_mlops", "runs", "list", "--limit", "100", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize("words", [["runs", "list"], ["--help"]], ids=" ".join)
def test_a_full_disk_is_one_line(team: Team, words: list[str]) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for environment in buffered, {**buffered, "PYTHONUNBUFFERED": "1"}:
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [*PROGRAM, *words], check=False, stdout=full, stderr=subprocess.PIPE, text=True, env=environment
            )
        # Where it is told at the end only, notes about what was listed come before.
        assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "Error: No space left on device")
        assert "ignored" not in ended.stderr


def test_closed_streams_are_no_place_for_other_files(team: Team) -> None:
    """What is opened next would stand where standard output was, and be written to by whatever prints."""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *PROGRAM, "runs", "tag", "calm-heron-7", "a=b"]
    assert subprocess.run(command, check=False).returncode == 0
    assert ("a", "b") in [(tag.key, tag.value) for tag in team.tracker.runs.resolve("calm-heron-7").tags]


@pytest.mark.slow
def test_ctrl_c_ends_with_130(team: Team) -> None:
    command = [sys.executable, "-m", "jupyter_mlops", "models", "delete", "churn", "--json"]
    team.tracker.models.register("churn", team.runs["calm-heron-7"].run_id, "model")
    mother, child = pty.openpty()
    with subprocess.Popen(
        command, stdin=child, stdout=subprocess.PIPE, stderr=child, start_new_session=True
    ) as process:
        os.close(child)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(mother, 1000)
        # A signal just before it waits for the answer would be seen after the answer.
        waiting, deadline = psutil.Process(process.pid), time.monotonic() + 30
        while waiting.status() != psutil.STATUS_SLEEPING:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        process.wait(30)
    os.close(mother)
    assert process.returncode == 130
    assert team.tracker.models.get("churn").latest_version == 1


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_and_width_on_a_terminal(team: Team, variables: dict[str, str], coloured: bool) -> None:
    mother, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60", **variables}
    environment.pop("NO_COLOR", None) if coloured else None
    with subprocess.Popen(
        [sys.executable, "-m", "jupyter_mlops", "runs", "list"], stdout=child, stderr=child, env=environment
    ) as process:
        os.close(child)
        said = b""
        try:
            while piece := os.read(mother, 65536):
                said += piece
        except OSError:  # Linux says EIO when the last writer has gone
            pass
        assert process.wait(30) == 0
    os.close(mother)
    text = said.decode()
    # Green, for all that finished.
    assert ("\x1b[38;5;28m" in text) == coloured
    table = re.sub(r"\x1b\[[0-9;]*m", "", text).split("\r\n\r\n")[0]
    assert all(len(line) <= 60 for line in table.splitlines())
    assert "Not shown, for want of room" in text


def test_a_mistyped_command_is_told_with_the_right_one(mlops: Mlops) -> None:
    assert "There is no command 'runn'; did you mean 'run'?" in mlops("runn", code=2).stderr


def test_what_the_system_refuses_is_one_line_with_the_file(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    target = tmp_path / "a-folder" / "runs.csv"
    assert mlops("runs", "export", "-o", str(target), code=1).stderr == f"Error: {target}: No such file or directory\n"


def test_yaml_that_is_none_is_one_line_with_the_place(mlops: Mlops, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a: [")
    (tmp_path / "n.ipynb").write_bytes(notebook(0.1))
    said = mlops("run", "n.ipynb", "-f", "p.yaml", code=2).stderr
    assert said.count("\n") == 1
    assert "p.yaml is no YAML" in said
    assert "line 1" in said


def test_a_damaged_database_is_named(mlops: Mlops, home: Path) -> None:
    home.mkdir()
    (home / "mlops.db").write_bytes(b"not a database at all" * 100)
    said = mlops("runs", "list", code=2).stderr
    assert f"{home}/mlops.db is no SQLite database" in said
    assert said.count("\n") == 1


def test_a_minimal_installation_says_what_the_command_line_lacks() -> None:
    code = "import sys, runpy; sys.modules['click'] = None; runpy.run_module('jupyter_mlops', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the command line needs the package 'click', which ")


@pytest.mark.parametrize(
    "words",
    [
        ("policy", "check", "latin1.txt"),
        ("audit", "verify", "latin1.txt"),
        ("audit", "verify", "-"),
        ("models", "card", "churn", "--set", "latin1.txt"),
        ("models", "card", "churn", "--set", "-"),
        ("runs", "note", "best", "-"),
    ],
)
def test_a_text_that_is_not_in_utf_8_is_one_line(mlops: Mlops, team: Team, words: tuple[str, ...]) -> None:
    content = "größer".encode("latin-1")
    Path("latin1.txt").write_bytes(content)
    run = next(iter(team.runs.values()))
    if words[0] == "models":
        (folder := Path("model")).mkdir()
        (folder / "MLmodel").write_text("flavors: {python_function: {}}\n")
        team.tracker.artifacts.put_folder(run.run_id, folder, "model")
        team.tracker.models.register("churn", run.run_id, "model")
    result = CliRunner().invoke(root, [run.run_id if word == "best" else word for word in words], input=content)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    name = "standard input" if words[-1] == "-" else "latin1.txt"
    assert f"{name} is no text in UTF-8" in result.output


def test_lost_runs_are_no_hindrance_for_who_may_only_read(
    mlops: Mlops, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = msgspec.structs.replace(this_runner(), pid=2**22, started=0.0)
    with running(sqlite_url, tmp_path / "artifacts", tmp_path) as service:
        with connect(sqlite_url, principal=Principal("ada")) as tracker:
            experiment = tracker.experiments.ensure("shared").experiment_id
            run = tracker.runs.create(NewRun(experiment_id=experiment, runner=gone))
        monkeypatch.setenv("MLOPS_TRACKING_URL", service.url)
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token("ada", scope="read"))
        assert run.name in mlops("runs", "list").output
        monkeypatch.setenv("MLOPS_TRACKING_TOKEN", service.token("ada"))
        assert "lost the process" in mlops("runs", "list").output
