"""What is said about an environment, from folders and repositories made for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from jupyter_mlops.recording import environment, git
from jupyter_mlops.recording.environment import Interpreter, conda_packages, lock, machine
from jupyter_mlops.recording.usage import CPU, MEMORY, Usage


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    return Interpreter(
        "python", "3.12.1", "CPython", str(tmp_path), ("first", "second", "missing.zip"), str(tmp_path), True
    )


def distribution(folder: Path, name: str, origin: object = None) -> None:
    (folder / name).mkdir(parents=True)
    if origin is not None:
        (folder / name / "direct_url.json").write_text(json.dumps(origin))


def test_the_lock_names_versions_and_origins(interpreter: Interpreter, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    distribution(first, "my_package-1.2.dist-info")
    distribution(second, "My.Package-0.9.dist-info")
    distribution(second, "local-0.1.dist-info", {"url": "file:///src/local", "dir_info": {"editable": True}})
    distribution(second, "wheel_file-2.0.dist-info", {"url": "https://ada:pw@host/w.whl", "archive_info": {}})
    commit = {"vcs": "git", "commit_id": "abc"}
    distribution(second, "vcs-2.0.dist-info", {"url": "https://host/vcs.git", "vcs_info": commit})
    distribution(second, "egg-3.0-py3.12.egg-info")
    distribution(second, "developed.egg-info")
    (second / "developed.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: developed\nVersion: 5\n\nText"
    )
    assert lock(interpreter).splitlines() == [
        "# CPython 3.12.1",
        "developed==5",
        "egg==3.0",
        "-e file:///src/local  # local",
        "my_package==1.2",
        "vcs @ git+https://host/vcs.git@abc",
        "wheel_file @ https://host/w.whl",
    ]


def test_conda_packages_are_listed(interpreter: Interpreter, tmp_path: Path) -> None:
    assert conda_packages(interpreter) is None
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "r-base-4.4-h1.json").touch()
    (tmp_path / "conda-meta" / "history").touch()
    assert conda_packages(interpreter) == "r-base-4.4-h1\n"


def test_the_machine_is_described() -> None:
    facts = machine()
    assert 0 < facts["memory"] <= psutil.virtual_memory().total
    assert facts["cpus"] >= 1
    assert facts["processor"]


def test_use_of_a_process_and_its_children_is_measured() -> None:
    child = "x = bytearray(10**8); print(1, flush=True); input()"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        usage = Usage(process.pid)
        points = [*usage.sample(), *usage.sample()]
        process.communicate(b"\n")
        assert usage.sample() == ()
    assert [(point.key, point.step) for point in points] == [(MEMORY, 0), (CPU, 0), (MEMORY, 1), (CPU, 1)]
    assert points[0].value > 100
    assert points[1].value > 0


def run_git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_working_tree_is_described(tmp_path: Path) -> None:
    assert git.checkout(tmp_path) is None
    run_git(tmp_path, "init", "-q", "-b", "trunk")
    run_git(tmp_path, "remote", "add", "origin", "https://ada:secret@host/repo.git")
    empty = git.checkout(tmp_path)
    assert empty is not None
    assert (empty.commit, empty.branch, empty.dirty) == (None, "trunk", False)
    (tmp_path / "a.py").write_text("x = 1\n")
    run_git(tmp_path, "add", ".")
    run_git(tmp_path, "commit", "-q", "-m", "begin")
    (tmp_path / "below").mkdir()
    clean = git.checkout(tmp_path / "below")
    assert clean is not None
    assert (clean.root, clean.dirty, clean.diff, clean.remote) == (str(tmp_path), False, "", "https://host/repo.git")
    (tmp_path / "a.py").write_text("x = 2\n")
    changed = git.checkout(tmp_path)
    assert changed is not None
    assert (changed.dirty, changed.commit) == (True, clean.commit)
    assert "+x = 2" in changed.diff


def test_local_modules_are_those_that_git_does_not_keep(tmp_path: Path) -> None:
    names = ["kept.py", "new.py", "below/new.py"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = [str(tmp_path / name) for name in names] + [json.__file__, str(tmp_path / "gone.py")]
    cwd = tmp_path / "below"
    assert git.local_modules(files, cwd=cwd, root=None) == [tmp_path / "below" / "new.py"]
    run_git(tmp_path, "init", "-q")
    run_git(tmp_path, "add", "kept.py")
    found = git.local_modules(files, cwd=cwd, root=tmp_path)
    assert found == [tmp_path / "below" / "new.py", tmp_path / "new.py"]


PYNVML = """
class NVMLError(Exception): pass
class Known:
    total = 16 << 30
    gpu = 70
    pid = usedGpuMemory = 0
def lost(*_): raise NVMLError("GPU is lost")
nvmlInit = lambda: None
nvmlDeviceGetCount = lambda: 4
nvmlDeviceGetHandleByIndex = lambda index: lost() if index == 0 else index
nvmlDeviceGetName = lambda handle: lost() if handle == 1 else f"GPU {handle}"
nvmlDeviceGetMemoryInfo = lambda handle: lost() if handle == 2 else Known
nvmlDeviceGetUtilizationRates = lambda handle: lost() if handle == 2 else Known
nvmlDeviceGetComputeRunningProcesses = lambda handle: [Known]
"""


@pytest.mark.parametrize(
    ("broken", "found", "used"),
    [
        (
            "",
            [{"name": "GPU 3", "memory": 16 << 30}],
            ["1_memory_mb", "1_percent", "2_memory_mb", "3_memory_mb", "3_percent"],
        ),
        ("nvmlDeviceGetCount = lost", [], []),
    ],
)
def test_gpus_that_cannot_be_read_are_left_out(
    tmp_path: Path, broken: str, found: list[object], used: list[str]
) -> None:
    (tmp_path / "pynvml.py").write_text(f"{PYNVML}{broken}\n")
    code = """
        import json, os
        from jupyter_mlops.recording.environment import machine
        from jupyter_mlops.recording.usage import Usage
        keys = [metric.key for metric in Usage(os.getpid()).sample()]
        print(json.dumps([machine()["gpus"], sorted(key[11:] for key in keys if key.startswith("system/gpu_"))]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == [found, used]


def test_a_command_that_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_ANSWER_SECONDS", 0.05)
    assert environment._ask("sleep", "600") == ""
    assert environment._ask("no-such-command") == ""
    monkeypatch.undo()
    assert environment._ask("echo", "a machine") == "a machine"
