"""What an enclosed process cannot do, tried by processes that want to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from jupyter_mlops.checks import landlock
from jupyter_mlops.checks.sandbox import Enclosed, Limits, Sandbox
from tests.waiting import lives, processes_with, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_RUN = """
import json, sys
import msgspec
from jupyter_mlops.checks.sandbox import Limits, Sandbox
function, arguments, limits, options = json.loads(sys.stdin.read())
with Sandbox(Limits(**limits)) as sandbox:
    sys.stdout.buffer.write(msgspec.json.encode(sandbox.run('tests.checks.hostile:' + function, arguments, **options)))
"""
SYSTEM_PYTHON = "/usr/bin/python3"
_WITHOUT_LANDLOCK = """
import ctypes, struct
program = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000))))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0
assert prctl(22, 2, struct.pack('=HxxxxxxQ', 4, ctypes.addressof(program))) == 0
"""
"""What makes the kernel say, by a seccomp filter, that it knows no Landlock."""
_NO_NAMESPACES = (
    'for n in user pid net ipc mnt; do echo 0 > /proc/sys/user/max_${n}_namespaces; done; exec "$@"',
    "sh",
)


def surroundings() -> dict[str, list[str]]:
    """The ways in which a worker may run on this machine, each as the command that runs its Python."""
    found = {"as it is": [sys.executable]}
    if os.geteuid() == 0:
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        if (
            Path(SYSTEM_PYTHON).exists()
            and subprocess.check_output([SYSTEM_PYTHON, "-c", ask]).decode().strip() == here
        ):
            found["as root with a user to become"] = [SYSTEM_PYTHON]
            found["as nobody in particular"] = [
                "setpriv",
                "--reuid=12345",
                "--regid=12345",
                "--clear-groups",
                SYSTEM_PYTHON,
            ]
        probe = ["unshare", "-U", "-r", "sh", "-c", *_NO_NAMESPACES, "true"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            found["without namespaces"] = [*probe[:-1], sys.executable]
    return found


SURROUNDINGS = surroundings()

Run = Callable[..., Enclosed]


def enclosed(
    python: list[str],
    function: str,
    *,
    before: str = "",
    seconds: float = 60.0,
    memory: int = 1 << 30,
    network: bool = False,
    **arguments: Any,
) -> Enclosed:
    """Run a function of :mod:`tests.checks.hostile` in a sandbox of a process of its own, after the code ``before``."""
    packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    words = [function, arguments, {"seconds": seconds, "memory": memory}, {"network": network}]
    ended = subprocess.run(
        [*python, "-c", before + _RUN],
        input=json.dumps(words).encode(),
        capture_output=True,
        cwd="/",
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *packages]),
            "MLOPS_SECRET_OF_THE_SERVICE": "s3cr3t",
            "HOME": "/tmp",
        },
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return msgspec.json.decode(ended.stdout, type=Enclosed)


@pytest.fixture(params=SURROUNDINGS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a function of :mod:`tests.checks.hostile` in a sandbox, in each of the surroundings."""
    call = partial(enclosed, SURROUNDINGS[request.param])
    call.surroundings = request.param  # type: ignore[attr-defined]
    return call


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder in which everybody may write, as far as permissions say."""
    for place in (tmp_path, *tmp_path.parents):
        if place.owner() and place != Path("/") and place.stat().st_uid == os.geteuid():
            place.chmod(place.stat().st_mode | 0o055)
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_what_is_missing_is_told(run: Run) -> None:
    isolation = run("identity").isolation
    where = run.surroundings  # type: ignore[attr-defined]
    assert (isolation.files is None) == (landlock.version() > 0)
    assert (isolation.user is None) == (where == "as root with a user to become")
    if where == "without namespaces":
        assert "namespaces" in (isolation.processes or "")
        assert [text.partition(":")[0] for text in isolation.missing][-2:] == ["processes", "network"]


def test_it_writes_to_its_own_folder_only(run: Run, open_folder: Path) -> None:
    if landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")
    places = [str(open_folder / "x"), "/tmp/x-of-a-sandbox", "/var/tmp/x-of-a-sandbox", f"{ROOT}/x-of-a-sandbox"]
    found = run("touch", places=[*places, "mine", "tmp/mine"]).value
    assert found == {**dict.fromkeys(places, "PermissionError"), "mine": "done", "tmp/mine": "done"}
    assert not [place for place in places if Path(place).exists()]
    # What it may write to by memory is its own too.
    run("touch", places=["/dev/shm/x-of-a-sandbox"])
    assert not Path("/dev/shm/x-of-a-sandbox").exists()


def test_it_reads_nothing_of_the_worker(run: Run, open_folder: Path) -> None:
    if landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")
    (open_folder / "secret").write_text("s3cr3t")
    (open_folder / "secret").chmod(0o644)
    places = [str(open_folder / "secret"), "/etc/shadow", "/etc/hostname", f"/proc/{os.getpid()}/environ"]
    found = run("read", places=places).value
    assert set(found.values()) <= {"PermissionError", "FileNotFoundError"}, found


def test_without_landlock_another_user_protects_the_workers_files(tmp_path: Path, open_folder: Path) -> None:
    python = SURROUNDINGS.get("as root with a user to become")
    if python is None:
        pytest.skip("this process cannot become another user")
    (tmp_path / "secret").write_text("s3cr3t")
    (tmp_path / "secret").chmod(0o600)
    places = [str(tmp_path / "x"), "/usr/x-of-a-sandbox"]
    ended = enclosed(python, "touch", before=_WITHOUT_LANDLOCK, places=[*places, str(open_folder / "x"), "mine"])
    # What everybody may write to, it may.
    expected = {**dict.fromkeys(places, "PermissionError"), str(open_folder / "x"): "done", "mine": "done"}
    assert ended.value == expected
    assert (ended.isolation.files, ended.isolation.user) == ("this kernel has no Landlock", None)
    assert ended.isolation.is_confined
    secrets = [str(tmp_path / "secret"), "/etc/shadow", f"/proc/{os.getpid()}/environ"]
    found = enclosed(python, "read", before=_WITHOUT_LANDLOCK, places=secrets).value
    assert set(found.values()) <= {"PermissionError", "FileNotFoundError"}, found


def test_what_a_given_link_points_at_stays_as_private_as_it_was(tmp_path: Path) -> None:
    python = SURROUNDINGS.get("as root with a user to become")
    if python is None:
        pytest.skip("this process cannot become another user")
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.touch(0o600)
    folder.mkdir(0o700)
    before = f"""
from jupyter_mlops.checks.sandbox import Sandbox
entered = Sandbox.__enter__
def given_links(sandbox):
    entered(sandbox)
    (sandbox.given / "file").symlink_to({str(secret)!r})
    (sandbox.given / "folder").symlink_to({str(folder)!r})
    return sandbox
Sandbox.__enter__ = given_links
"""
    assert enclosed(python, "identity", before=before).value["uid"] != os.getuid()
    assert [place.stat().st_mode & 0o777 for place in (secret, folder)] == [0o600, 0o700]


def test_with_neither_it_says_that_it_is_not_confined() -> None:
    hidden = SURROUNDINGS["without namespaces" if "without namespaces" in SURROUNDINGS else "as it is"]
    isolation = enclosed(hidden, "identity", before=_WITHOUT_LANDLOCK).isolation
    if isolation.user is None:
        pytest.skip("this process becomes another user")
    assert not isolation.is_confined
    assert isolation.missing[0] == "files: this kernel has no Landlock"


def test_it_has_none_of_the_workers_variables(run: Run) -> None:
    found = run("environment").value
    assert "s3cr3t" not in str(found)
    assert found["HOME"] == found["MLOPS_HOME"].rpartition("/")[0]
    assert not [name for name in found if name.startswith(("JUPYTERHUB", "AWS", "PG"))]


def test_it_has_no_network_unless_it_is_left_to_it(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = run("reach", host="127.0.0.1", port=port)
        assert ended.value != "done", ended
        assert run("reach", host="127.0.0.1", port=port, network=True).value == "done"


def test_it_cannot_end_others(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as other:
        found = run("signal_to", pid=other.pid).value
        assert found in ("PermissionError", "ProcessLookupError")
        assert other.poll() is None
        other.communicate()


def test_nothing_that_it_started_outlives_it(run: Run) -> None:
    mark = f"left-behind-{os.getpid()}-{time.monotonic_ns()}"
    assert run("leave_behind", mark=mark).error is None
    assert processes_with(mark) == []


def test_time_is_limited(run: Run) -> None:
    ended = run("sleep", seconds=1.0, how_long=60)
    assert ended.error == "it took longer than 1 s"


def test_memory_of_one_process_is_limited(run: Run) -> None:
    ended = run("allocate", memory=400 << 20, size=(600 << 20) + (os.cpu_count() or 1) * (128 << 20))
    assert "memory" in str(ended.error)


def test_memory_of_all_its_processes_together_is_limited(run: Run) -> None:
    ended = run("allocate_in_many", memory=300 << 20, size=600 << 20, processes=4)
    assert ended.error == "it needed more memory than the 0.293 GiB that it may have"


def test_an_end_without_an_answer_is_no_answer() -> None:
    with Sandbox() as sandbox:
        assert "exit code 0" in str(sandbox.run("tests.checks.hostile:exit_at_once", {"code": 0}).error)
        assert "signal 11" in str(sandbox.run("tests.checks.hostile:kill_itself", {}).error)
        forged = sandbox.run("tests.checks.hostile:answer_nonsense", {})
        assert forged.value is None
        assert forged.error is not None
        assert forged.isolation == sandbox.run("tests.checks.hostile:identity", {}).isolation


def test_of_a_long_log_the_end_is_kept() -> None:
    with Sandbox() as sandbox:
        log = sandbox.run("tests.checks.hostile:print_much", {"characters": 5_000_000}).log
    assert len(log) < 110_000
    assert log.endswith("the end\n")


def test_a_sandbox_is_gone_at_its_end() -> None:
    with Sandbox() as sandbox:
        sandbox.run("tests.checks.hostile:touch", {"places": ["mine"]})
        root = sandbox.work.parent
        assert (sandbox.work / "mine").exists()
    assert not root.exists()


def test_what_is_stopped_ends_at_once() -> None:
    mark = f"stopped-{os.getpid()}-{time.monotonic_ns()}"
    ended: list[Enclosed] = []
    with Sandbox(Limits(seconds=600)) as sandbox:
        thread = threading.Thread(
            target=lambda: ended.append(sandbox.run("tests.checks.hostile:leave_and_sleep", {"mark": mark}))
        )
        thread.start()
        until(lambda: processes_with(mark), "the enclosed process started another")
        sandbox.stop()
        thread.join(60)
    assert [each.error for each in ended] == ["it was stopped"]
    assert processes_with(mark) == []


def test_it_ends_with_the_process_that_started_it() -> None:
    mark = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    code = _RUN.replace("json.loads(sys.stdin.read())", f"('leave_and_sleep', {{'mark': '{mark}'}}, {{}}, {{}})")
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as worker:
        until(lambda: processes_with(mark), "the enclosed process started another")
        enclosed = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()
    until(lambda: not processes_with(mark) and not any(map(lives, enclosed)), "all of it ended")
