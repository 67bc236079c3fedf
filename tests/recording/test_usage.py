"""What is read of a process is what psutil reads of it, which does so on all systems."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jupyter_mlops.recording import usage
from jupyter_mlops.recording.usage import CPU, MEMORY, Usage

BUSY = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, b") R 1 (")
held = bytearray(60_000_000)
while time.process_time() < 0.4:
    pass
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def busy() -> Iterator[int]:
    """A process of an odd name that holds memory and has used a processor."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_process_is_read_as_psutil_reads_it() -> None:
    with busy() as pid:
        ours, theirs = usage._read(pid), usage._read_by_psutil(pid)
        (memory, cpu) = Usage(pid).sample()
    assert ours is not None
    assert theirs is not None
    assert ours.cpu == pytest.approx(theirs.cpu, abs=0.05)
    assert ours.cpu > 0.3
    assert ours.memory == pytest.approx(theirs.memory, rel=0.05)
    assert ours.memory > 60e6
    assert ours.age == pytest.approx(theirs.age, abs=0.5)
    assert (memory.key, memory.value, memory.step) == (MEMORY, pytest.approx(theirs.memory / 1e6, rel=0.05), 0)
    assert cpu.key == CPU
    assert 0 < cpu.value <= 110


def test_of_a_process_that_is_gone_there_is_nothing() -> None:
    with busy() as pid:
        used = Usage(pid)
    assert used.sample() == ()
    assert Usage(pid).sample() == ()
    assert usage._read_by_psutil(pid) is None
