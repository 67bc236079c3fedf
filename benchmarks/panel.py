"""The panel in a browser: how soon 10,000 runs are seen, and how they scroll and sort.

There is nothing to compare it with: what counts is that people do not wait. ``python -m benchmarks.panel``; needs
Playwright and a Chromium, and the built panel (``make panel``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupyter_mlops
from benchmarks.population import fill_runs
from jupyter_mlops.tracker.connect import connect

RUNS = 10_000
PAINT_SECONDS = 1.0
"""In which a table of that many runs must be seen."""
TOKEN = "benchmark"
ROUNDS = 3

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
def jupyterlab(home: Path) -> Iterator[str]:
    """A JupyterLab of its own with the store in ``home``; its URL."""
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
    environment = {**os.environ, "MLOPS_HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config")}
    environment["JUPYTER_PATH"] = str(home / "share")
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
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


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with connect(f"sqlite:///{home / 'mlops.db'}") as tracker:
            experiment_id = fill_runs(tracker, RUNS)
        paints: list[float] = []
        with jupyterlab(home) as url, browser() as chromium:
            for _ in range(ROUNDS):
                page = chromium.new_page(viewport={"width": 1400, "height": 900})
                page.goto(f"{url}/lab?token={TOKEN}&reset")
                page.wait_for_function("window.jupyterapp?.commands.hasCommand('mlops:open')", timeout=300_000)
                page.evaluate("window.jupyterapp.restored")
                painted = page.evaluate(OPEN, f"experiments/{experiment_id}")
                paints.append(painted["seconds"])
                if len(paints) < ROUNDS:
                    page.close()
            sort = page.evaluate(SORT, "auc")
            scrolled = page.evaluate(SCROLL)
    frames = sorted(scrolled["frames"])
    paint = statistics.median(paints)
    print(f"{RUNS:,} runs, {painted['rows']} rows drawn at a time")
    print(f"first paint: {paint:.2f} s (median of {ROUNDS}, {min(paints):.2f} to {max(paints):.2f})")
    print(f"sorted by a metric: {sort:.2f} s")
    print(
        f"scrolled to row {scrolled['last'] - 1:,}: {len(frames)} frames, median {statistics.median(frames):.0f} ms, "
        f"95 % within {frames[int(0.95 * len(frames))]:.0f} ms, longest {frames[-1]:.0f} ms"
    )
    return int(paint > PAINT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
