"""What a process logs is in its spool when the call returns, whatever happens to the process afterwards."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.errors import StorageFull, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Metric, NewRun, Param, RunChange, RunStatus, Tag
from jupyter_mlops.tracker.losses import read_losses
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import (
    Change,
    Closed,
    Create,
    Entry,
    Header,
    Log,
    PutArtifact,
    decode,
    frame,
    is_torn,
    read_header,
    read_payloads,
    target_of,
)

RUN = new_id()


def point(step: int, key: str = "loss") -> Log:
    return Log(RUN, Batch(metrics=(Metric(key, float(step), 1_700_000_000_000 + step, step),)))


def files(folder: Path) -> list[Path]:
    """The spools of a folder, oldest first."""
    return sorted(folder.glob("*.spool"), key=lambda path: header(path).created)


def header(path: Path) -> Header:
    with path.open("rb") as file:
        found = read_header(file)
    assert found is not None
    return found


def entries(path: Path) -> list[Entry]:
    with path.open("rb") as file:
        assert read_header(file) is not None
        return [decode(payload) for payload, _ in read_payloads(file, file.tell())]


def steps(path: Path) -> list[int]:
    return [entry.batch.metrics[0].step for entry in entries(path) if isinstance(entry, Log)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def writer(folder: Path) -> Iterator[SpoolWriter]:
    writer = SpoolWriter(folder)
    yield writer
    writer.close()


def test_an_entry_is_in_the_file_when_the_call_returns(writer: SpoolWriter, folder: Path) -> None:
    for step in range(3):
        writer.append(point(step))
        assert steps(files(folder)[0]) == list(range(step + 1))


def test_nothing_is_made_before_something_is_written(folder: Path) -> None:
    SpoolWriter(folder).close()
    assert not folder.exists()


def test_closing_ends_the_stream_and_the_next_entry_begins_another(writer: SpoolWriter, folder: Path) -> None:
    writer.append(point(0))
    writer.close()
    writer.append(point(1))
    first, second = files(folder)
    assert entries(first) == [point(0), Closed()]
    assert steps(second) == [1]


def test_the_file_is_for_its_owner_only(writer: SpoolWriter, folder: Path) -> None:
    writer.append(point(0))
    assert files(folder)[0].stat().st_mode & 0o077 == 0


def test_folders_that_are_made_for_it_are_for_their_owner_only(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "home" / "spool")
    writer.append(point(0))
    writer.close()
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "home", tmp_path / "home" / "spool")] == [0, 0]


def test_the_header_says_who_writes(writer: SpoolWriter, folder: Path) -> None:
    writer.append(point(0))
    found = header(files(folder)[0])
    assert (found.stream, found.session, found.writer.pid) == (writer.stream, writer.session, os.getpid())


_values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20)
)
_entries = st.one_of(
    st.builds(
        Log,
        st.just(RUN),
        st.builds(
            Batch,
            metrics=st.lists(
                st.builds(
                    Metric,
                    st.text(min_size=1),
                    st.floats(allow_nan=False),
                    st.integers(0, 2**63 - 1),
                    st.integers(-(2**63), 2**63 - 1),
                ),
                max_size=3,
            ).map(tuple),
            params=st.lists(st.builds(Param, st.text(), _values, st.text()), max_size=3).map(tuple),
            tags=st.lists(st.builds(Tag, st.text(), st.text()), max_size=3).map(tuple),
        ),
    ),
    st.builds(PutArtifact, st.just(RUN), st.text(), st.text()),
    st.builds(Change, st.just(RUN), st.builds(RunChange, status=st.sampled_from(RunStatus))),
    st.builds(Create, st.builds(NewRun, experiment_id=st.text()), st.text()),
)


@given(_entries)
def test_entries_come_back_as_they_were(entry: Entry) -> None:
    assert decode(msgspec.msgpack.encode(entry)) == entry


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324])
def test_special_values_keep_their_bits(value: float) -> None:
    back = decode(msgspec.msgpack.encode(Log(RUN, Batch(metrics=(Metric("x", value, 0),)))))
    assert isinstance(back, Log)
    assert back.batch.metrics[0].value.hex() == value.hex()
    assert math.copysign(1, back.batch.metrics[0].value) == math.copysign(1, value)


def test_a_record_torn_anywhere_is_skipped_and_those_before_are_kept(writer: SpoolWriter, folder: Path) -> None:
    for step in range(3):
        writer.append(point(step))
    path = files(folder)[0]
    whole = path.read_bytes()
    with path.open("rb") as file:
        read_header(file)
        ends = [end for _, end in read_payloads(file, file.tell())]
    for length in range(ends[1], ends[2]):
        path.write_bytes(whole[:length])
        assert steps(path) == [0, 1]
        with path.open("rb") as file:
            assert is_torn(file, ends[1])


@pytest.mark.parametrize("damage", ["zeros", "flipped", "garbage"])
def test_a_damaged_record_is_not_taken_for_a_good_one(writer: SpoolWriter, folder: Path, damage: str) -> None:
    for step in range(3):
        writer.append(point(step))
    path = files(folder)[0]
    content = bytearray(path.read_bytes())
    if damage == "zeros":
        content += bytes(4096)
    elif damage == "garbage":
        content += os.urandom(4096)
    else:
        content[-5] ^= 1
    path.write_bytes(content)
    assert steps(path) == ([0, 1] if damage == "flipped" else [0, 1, 2])


def test_a_zero_length_is_no_record() -> None:
    assert frame(b"") == bytes(8)  # why it must be refused


def test_a_large_stream_goes_on_in_another_file(folder: Path) -> None:
    writer = SpoolWriter(folder, segment_bytes=1000)
    for step in range(100):
        writer.append(point(step))
    writer.close()
    found = files(folder)
    assert len(found) > 3
    assert [step for path in found for step in steps(path)] == list(range(100))
    assert all(isinstance(entries(path)[-1], Closed) for path in found)
    assert len({header(path).session for path in found}) == 1


def test_threads_share_a_writer(writer: SpoolWriter, folder: Path) -> None:
    def write(thread: int) -> None:
        for step in range(500):
            writer.append(point(step, f"loss-{thread}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [entry.batch.metrics[0] for entry in entries(files(folder)[0]) if isinstance(entry, Log)]
    for number in range(4):
        assert [metric.step for metric in found if metric.key == f"loss-{number}"] == list(range(500))


def test_a_file_is_copied_before_the_call_returns(writer: SpoolWriter, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(b"before")
    writer.put_file(RUN, "a/model.bin", lambda target: target.write_bytes(source.read_bytes()))
    source.write_bytes(b"after")
    (entry,) = entries(files(folder)[0])
    assert isinstance(entry, PutArtifact)
    assert (entry.path, (folder / entry.file).read_bytes()) == ("a/model.bin", b"before")


def test_a_file_that_cannot_be_written_leaves_nothing(writer: SpoolWriter, folder: Path) -> None:
    def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise ValueError("no such format")

    with pytest.raises(ValueError, match="no such format"):
        writer.put_file(RUN, "figure.xyz", fail)
    writer.append(point(0))
    assert [type(entry) for entry in entries(files(folder)[0])] == [Log]
    assert not list(folder.glob("*.file"))


def lost(folder: Path) -> dict[str, int]:
    (path,) = folder.glob("*.losses")
    found = read_losses(path)
    assert found is not None
    return found.counts


def fill(writer: SpoolWriter) -> int:
    """Append until the first entry is dropped; how many were accepted."""
    accepted = 0
    with contextlib.suppress(StorageFull):
        while True:
            writer.append(point(accepted))
            accepted += 1
    return accepted


def test_a_full_spool_drops_values_and_counts_them_and_still_notes_the_end(folder: Path) -> None:
    writer = SpoolWriter(folder, max_bytes=20_000)
    accepted = fill(writer)
    for _ in range(4):
        with pytest.raises(StorageFull, match="20,000"):
            writer.append(point(0))
    writer.append(Change(RUN, RunChange(status=RunStatus.FINISHED)))
    writer.close()
    found = [entry for path in files(folder) for entry in entries(path)]
    assert sum(isinstance(entry, Log) for entry in found) == accepted
    assert lost(folder) == {RUN: 5}
    assert Change(RUN, RunChange(status=RunStatus.FINISHED)) in found


def test_a_full_spool_has_room_again_when_files_were_applied(folder: Path) -> None:
    writer = SpoolWriter(folder, max_bytes=20_000)
    fill(writer)
    refused = 1
    for path in files(folder)[:-1]:
        path.unlink()
    deadline = time.monotonic() + 10
    while True:
        try:
            writer.append(point(-1))
            break
        except StorageFull:
            refused += 1
            assert time.monotonic() < deadline
            time.sleep(0.05)
    writer.close()
    assert point(-1) in [entry for path in files(folder) for entry in entries(path)]
    assert lost(folder)[RUN] == refused


def test_a_failed_write_leaves_whole_records_only(folder: Path) -> None:
    """A file-size limit stops a write in the middle, as a full disk does."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, {tests!r})
        from test_spool import SpoolWriter, StorageFull, point
        writer = SpoolWriter(Path({folder!r}))
        writer.append(point(0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        written = 1
        try:
            while True:
                writer.append(point(written))
                written += 1
        except StorageFull:
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        writer.append(point(written))
        print(written + 1, flush=True)
    """
    text = textwrap.dedent(code).format(tests=str(Path(__file__).parent), folder=str(folder))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert steps(files(folder)[0]) == list(range(int(done.stdout)))


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write the spool"):
        SpoolWriter(tmp_path / "file").append(point(0))


def test_a_forked_child_writes_a_stream_of_its_own(writer: SpoolWriter, folder: Path) -> None:
    """Also when another thread of the parent held the writer's lock at that moment."""
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            writer.append(point(written, "parent"))
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(20):
            pid = os.fork()
            if pid == 0:
                failed = 1
                try:
                    signal.alarm(20)
                    writer.append(point(number, "child"))
                    failed = 0
                finally:
                    os._exit(failed)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    writer.close()
    found = {path: entries(path) for path in files(folder)}
    streams = [[e.batch.metrics[0] for e in some if isinstance(e, Log)] for some in found.values()]
    children = [stream for stream in streams if stream[0].key == "child"]
    assert [[metric.step for metric in stream] for stream in children] == [[number] for number in range(20)]
    # A parent that writes more than a file holds goes on in another; their names sort by time.
    parent = [metric.step for stream in streams if stream[0].key == "parent" for metric in stream]
    assert parent == list(range(written))
    assert len({header(path).session for path in found}) == 1


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(folder: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        sys.path.insert(0, {tests!r})
        from test_spool import SpoolWriter, point
        writer = SpoolWriter(Path({folder!r}), segment_bytes=20_000)
        step = 0
        while True:
            writer.append(point(step))
            os.write(1, b"%d\\n" % step)
            step += 1
    """
    text = textwrap.dedent(code).format(tests=str(Path(__file__).parent), folder=str(folder))
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(2000):
                process.stdout.readline()
            process.kill()
            lines = process.stdout.read().splitlines()
        for path in folder.glob("*.spool"):
            if not path.stat().st_size:  # it was killed while it began a file
                path.unlink()
        last = int(lines[-1]) if lines else 1999
        found = [step for path in files(folder) for step in steps(path)]
        assert found == list(range(len(found)))
        assert len(found) > last
        for path in files(folder):
            path.unlink()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://ann:secret@db/x", "postgresql+psycopg://bob@DB/x?sslmode=require", True),
        ("postgresql://db/x", "postgresql://db/y", False),
        ("sqlite:////a/b.db", "sqlite:////a/b.db", True),
        ("sqlite:////a/b.db", "sqlite:////a/c.db", False),
        ("https://hub/services/mlops", "https://ann:token@hub/services/mlops", True),
    ],
)
def test_a_target_tells_trackers_apart_without_secrets(one: str, other: str, same: bool) -> None:
    assert (target_of(one) == target_of(other)) is same
    assert "secret" not in target_of(one)
    assert "token" not in target_of(other)


def test_logging_imports_nothing(folder: Path) -> None:
    """A child that is forked while another thread imports something waits for it for ever."""
    code = """
        import sys
        from pathlib import Path
        from jupyter_mlops.core.records import Batch, Tag
        from jupyter_mlops.tracker.spool import SpoolWriter
        from jupyter_mlops.tracker.spoolfile import Log
        known = set(sys.modules)
        writer = SpoolWriter(Path(sys.argv[1]), target="a", max_bytes=4000)
        writer.append(Log("0" * 32, Batch(tags=(Tag("a", "b"),))))
        writer.put_file("0" * 32, "a", lambda place: place.write_bytes(b""))
        writer.losses.add({"0" * 32: 1})
        writer.close()
        print(sorted(set(sys.modules) - known))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "[]\n"


def test_a_child_that_is_forked_as_a_stream_ends_has_its_own(
    writer: SpoolWriter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[object] = []
    children: list[int] = []

    class Forking(list[int]):
        def append(self, fd: int) -> None:
            super().append(fd)
            child = os.fork()
            if not child:
                writer.append(point(1))
                os._exit(len(failed))
            children.append(child)

    monkeypatch.setattr(sys, "unraisablehook", failed.append)
    writer.append(point(0))
    writer._retired = Forking()
    writer.close()
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0]
    assert [steps(path) for path in files(folder)] == [[0], [1]]


def test_without_a_thread_to_spare_entries_are_kept_all_the_same(
    writer: SpoolWriter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        writer.append(point(1))
        writer.close()
        writer.append(point(2))
    before = set(threading.enumerate())
    writer.append(point(3))
    assert [thread.name for thread in set(threading.enumerate()) - before] == ["mlops-spool-sync"]
    assert [steps(path) for path in files(folder)] == [[1], [2, 3]]


def test_closing_while_the_disk_is_told_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that syncs is about to when the spool is closed, which once made each wait for the other."""
    begins, goes_on = threading.Event(), threading.Event()
    sync = SpoolWriter.sync

    def held_up(self: SpoolWriter) -> None:
        if threading.current_thread() is thread:
            begins.set()
            goes_on.wait()
        sync(self)

    monkeypatch.setattr(SpoolWriter, "sync", held_up)
    writer = SpoolWriter(tmp_path)
    before = set(threading.enumerate())
    writer.append(point(1))
    (thread,) = set(threading.enumerate()) - before
    assert begins.wait(30)
    join = thread.join

    def joined() -> None:
        goes_on.set()
        join(30)

    monkeypatch.setattr(thread, "join", joined)
    writer.close()
    assert not thread.is_alive()
