"""The panel in a browser: how soon the sidebar stands there with the data of 200 users, how soon 10,000 runs are
seen, and how they scroll and sort.

There is nothing to compare it with: what counts is that people do not wait. ``python -m benchmarks.panel`` renews its
section of ``docs/benchmarks.md``; needs Playwright and a Chromium, and the built panel (``make panel``).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jupyter_mlops
from benchmarks import report, team
from benchmarks.measure import machine, versions
from benchmarks.population import fill_runs
from benchmarks.service import served_to
from jupyter_mlops.tracker.connect import connect

RUNS = 10_000
PAINT_SECONDS = 1.0
"""In which a table of that many runs must be seen."""
SIDEBAR_SECONDS = 1.0
"""After JupyterLab's start, in which the sidebar must show all that it has."""
TOKEN = "benchmark"
ROUNDS = 5
SIZE = {"width": 1400, "height": 900}
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

WATCH = """
const told = (window.mlopsSidebar = {});
const look = () => {
  if (!told.isFollowed && window.jupyterapp !== undefined) {
    told.isFollowed = true;
    window.jupyterapp.restored.then(() => { told.restored = performance.now(); });
  }
  const sidebar = document.querySelector('#jp-mlops-sidebar');
  const part = title => [...sidebar.querySelectorAll('.jp-mlops-section')].find(
    each => each.querySelector('h2').textContent.startsWith(title));
  const isFilled = sidebar?.querySelector('[data-good=true]') != null &&
    ['Experiments', 'Running', 'Waiting', 'Models'].every(
      title => part(title)?.querySelector('.jp-mlops-row') != null) &&
    sidebar.querySelector('.jp-mlops-loading') === null;
  if (isFilled && told.filled === undefined) {
    told.filled = performance.now();
    told.rows = sidebar.querySelectorAll('.jp-mlops-row').length;
  }
  if (told.filled === undefined || told.restored === undefined) {
    requestAnimationFrame(look);
  }
};
requestAnimationFrame(look);
"""
"""When JupyterLab is there as it was left, and when the sidebar has all of its parts; in milliseconds of the page."""

OPEN = """
async path => {
  const begun = performance.now();
  await window.jupyterapp.commands.execute('mlops:open', { path });
  while (document.querySelector('.jp-mlops-grid-row[aria-rowindex="2"] a') === null) {
    await new Promise(requestAnimationFrame);
  }
  await new Promise(requestAnimationFrame);
  const seconds = (performance.now() - begun) / 1000;
  return { seconds, rows: document.querySelectorAll('.jp-mlops-grid-row').length };
}
"""
"""Until the first rows are drawn, and the next frame has begun."""
SCROLL = """
async () => {
  const table = document.querySelector('.jp-mlops-grid');
  const frames = [];
  let last = performance.now();
  while (table.scrollTop + table.clientHeight < table.scrollHeight - 1 && frames.length < 2000) {
    table.scrollTop += 280;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  const seen = [...document.querySelectorAll('.jp-mlops-grid-row')];
  return { frames, last: Math.max(...seen.map(row => Number(row.getAttribute('aria-rowindex')))) };
}
"""
"""Ten rows a frame, to the end; the lengths of the frames in milliseconds."""
SORT = """
async title => {
  const heads = [...document.querySelectorAll('[role=columnheader]')];
  const head = heads.find(each => each.querySelector('.jp-mlops-grid-title')?.textContent === title);
  const begun = performance.now();
  head.click();
  const isDone = () => document.querySelector('.jp-mlops-grid[aria-busy="true"]') === null &&
    document.querySelector('[aria-sort=descending]') !== null;
  await new Promise(requestAnimationFrame);
  while (!isDone()) {
    await new Promise(requestAnimationFrame);
  }
  return (performance.now() - begun) / 1000;
}
"""


@contextlib.contextmanager
def jupyterlab(home: Path, **environment: str) -> Iterator[str]:
    """A JupyterLab of its own, with the store in ``home`` unless the environment names another; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = home / "files"
    root.mkdir()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"),
    ]
    # The panel as it was built last, not as it was when the package was installed.
    built = home / "share" / "labextensions" / "jupyter-mlops"
    built.parent.mkdir(parents=True)
    built.symlink_to(Path(jupyter_mlops.__file__).parent / "labextension")
    own = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_")}
    own |= {"MLOPS_HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_PATH": str(home / "share")}
    with subprocess.Popen(command, env=own | environment, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/api/status?token={TOKEN}", server)
            yield url
        finally:
            server.terminate()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """The machine's Chromium."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        opened = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield opened
        finally:
            opened.close()


class Figure(NamedTuple):
    """A row of the page: what was measured, in milliseconds unless the text says otherwise."""

    what: str
    found: str
    goal: str = ""
    is_met: bool = True


def lab(chromium: Any, url: str, query: str = "") -> Any:
    """A page with JupyterLab, once it has started and has nothing left to ask for."""
    page = chromium.new_page(viewport=SIZE)
    page.goto(f"{url}/lab?token={TOKEN}{query}")
    page.wait_for_function("window.jupyterapp?.commands.hasCommand('mlops:open')", timeout=300_000)
    page.evaluate("window.jupyterapp.restored")
    page.wait_for_load_state("networkidle")
    return page


def sidebar(chromium: Any) -> Iterator[Figure]:
    """The open sidebar of one of 200 people, whose server asks a service for what she may see."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        database = f"sqlite:///{home / 'mlops.db'}"
        served = home / "service"
        served.mkdir()
        sizes = team.fill(database, served / "files")
        waits: list[float] = []
        with (
            served_to(team.ME, database, served, groups=team.MY_GROUPS, promotes=team.LED) as (
                service,
                token,
            ),
            jupyterlab(home, MLOPS_TRACKING_URL=service, MLOPS_TRACKING_TOKEN=token) as url,
        ):
            page = lab(chromium, url, "&reset")
            with page.expect_response(lambda answer: "/workspaces/" in answer.url and answer.request.method == "PUT"):
                page.evaluate("window.jupyterapp.commands.execute('mlops:toggle-sidebar')")
            page.close()
            for _ in range(ROUNDS):
                page = chromium.new_page(viewport=SIZE)
                asked: Counter[str] = Counter()
                page.on("request", lambda request, asked=asked: asked.update([urlsplit(request.url).path]))
                page.add_init_script(WATCH)
                page.goto(f"{url}/lab?token={TOKEN}")
                page.wait_for_function("window.mlopsSidebar?.filled && window.mlopsSidebar?.restored", timeout=120_000)
                told = page.evaluate("window.mlopsSidebar")
                # What events make old is asked for again within half a second.
                page.wait_for_load_state("networkidle")
                waits.append(max(told["filled"] - told["restored"], 0) / 1000)
                page.close()
        questions = {path: count for path, count in asked.items() if "/mlops/" in path}
        yield Figure(
            f"sidebar with all its parts ({told['rows']} rows), after JupyterLab's start: {sizes.users} users, "
            f"{sizes.experiments:,} experiments, {sizes.runs:,} runs, {sizes.models} models",
            _seconds(waits),
            f"<= {SIDEBAR_SECONDS:g} s",
            statistics.median(waits) <= SIDEBAR_SECONDS,
        )
        yield Figure("what it asks for, requests", f"{sum(questions.values())}, {len(questions)} different ones")


def table(chromium: Any) -> Iterator[Figure]:
    """The runs of an experiment, in a store of the user's own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with connect(f"sqlite:///{home / 'mlops.db'}") as tracker:
            experiment_id = fill_runs(tracker, RUNS)
        paints: list[float] = []
        with jupyterlab(home) as url:
            for _ in range(ROUNDS):
                page = lab(chromium, url, "&reset")
                painted = page.evaluate(OPEN, f"experiments/{experiment_id}")
                paints.append(painted["seconds"])
                if len(paints) < ROUNDS:
                    page.close()
            sort = page.evaluate(SORT, "auc")
            scrolled = page.evaluate(SCROLL)
            page.close()
    frames = sorted(scrolled["frames"])
    yield Figure(
        f"table of {RUNS:,} runs until its first {painted['rows']} rows are painted",
        _seconds(paints),
        f"<= {PAINT_SECONDS:g} s",
        statistics.median(paints) <= PAINT_SECONDS,
    )
    yield Figure("sorted by a metric", f"{sort:.2f} s")
    yield Figure(
        f"scrolled to row {scrolled['last'] - 1:,}, ten rows a frame",
        f"{len(frames)} frames, median {statistics.median(frames):.0f} ms, 95 % within "
        f"{frames[int(0.95 * len(frames))]:.0f} ms, longest {frames[-1]:.0f} ms",
    )


def _seconds(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f}, {len(found)} times)"


def section(figures: Sequence[Figure]) -> str:
    """Their part of the Markdown page."""
    made = f"{datetime.date.today().isoformat()}, {machine()}; {versions('jupyter-mlops', 'jupyterlab')}."
    rows = "".join(f"| {each.what} | {each.found} | {each.goal} |\n" for each in figures)
    return (
        f"Panel\n\n{made} By `python -m benchmarks.panel`: a headless Chromium, beside the servers on the same "
        "processors; medians, each in a page that was just loaded.\n\n"
        f"| what | found | goal |\n| --- | --- | --- |\n{rows}"
    )


def main() -> int:
    figures: list[Figure] = []
    with browser() as chromium:
        for figure in (*sidebar(chromium), *table(chromium)):
            figures.append(figure)
            print(f"{figure.what}: {figure.found}{figure.goal and f' (goal: {figure.goal})'}", flush=True)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(report.updated(page, {"panel": section(figures)}, []), encoding="utf-8")
    return int(not all(figure.is_met for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
