"""Joining a template's memory into huge pages: that it happens where the system can, and harms nowhere else."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_mlops.execution.engine import NotebookTask
from jupyter_mlops.execution.fork import hugepages
from jupyter_mlops.execution.fork.engine import TemplateProcess, find_prefix
from jupyter_mlops.execution.fork.kernel import Template
from jupyter_mlops.execution.local import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking needs Linux")


def _why_not() -> str | None:
    """What the system answers to the call."""
    if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        return "huge pages are switched off here"
    with mmap.mmap(-1, 2 * _size(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"\1" * len(memory)
        try:
            memory.madvise(25)
        except OSError as error:
            return f"MADV_COLLAPSE: {error}"
    return None


def _size() -> int:
    return int(Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").read_text())


def _kilobytes(process: int | str) -> dict[str, int]:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}


@pytest.mark.slow
def test_a_template_has_huge_pages(
    notebook: Callable[..., Path], task: Callable[..., NotebookTask], tmp_path: Path
) -> None:
    if why := _why_not():
        pytest.skip(why)
    # Small objects, for which Python asks for memory in pieces that are smaller than a huge page.
    path = notebook("data = [str(number) for number in range(400_000)]", "print(x)", parameters="x = 0")
    item = task(path, swept=("x",), x=1)
    with TemplateProcess(tmp_path) as process:
        process.start(item, find_prefix(item), environment(1))
        process.await_ready()
        memory = _kilobytes(Template(tmp_path).about.template)
    # As many as it makes in its time on a machine that is busy.
    assert memory["AnonHugePages"] >= 4 * _size() // 1024


def test_what_is_not_in_use_is_left_alone() -> None:
    if why := _why_not():
        pytest.skip(why)
    size, sparse = _size(), 64
    with mmap.mmap(-1, (sparse + 3) * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for place in range(0, sparse * size, 4 * mmap.PAGESIZE):
            memory[place] = 1
        memory[sparse * size :] = b"\1" * 3 * size
        before = _kilobytes("self")
        joined = hugepages.join_pages(60.0)
        after = _kilobytes("self")
    assert joined >= 2
    assert after["AnonHugePages"] > before["AnonHugePages"]
    # Of what else this process has, little is not there; of these blocks, three quarters.
    assert after["Anonymous"] - before["Anonymous"] < sparse * size // 1024 // 2


@pytest.mark.parametrize("name", ["_PROCESS", "_SETTINGS"])
def test_where_the_system_tells_nothing_nothing_is_joined(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugepages, name, tmp_path)
    if name == "_PROCESS":
        monkeypatch.setattr(hugepages, "_SETTINGS", tmp_path / "settings")
        (tmp_path / "settings").mkdir()
        (tmp_path / "settings" / "enabled").write_text("always [madvise] never")
        (tmp_path / "settings" / "hpage_pmd_size").write_text(str(2 << 20))
    assert hugepages.join_pages() == 0


def test_where_an_administrator_has_switched_them_off_nothing_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugepages, "_SETTINGS", tmp_path)
    (tmp_path / "enabled").write_text("always madvise [never]")
    (tmp_path / "hpage_pmd_size").write_text(str(2 << 20))
    assert hugepages.join_pages() == 0
