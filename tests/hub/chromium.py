"""The browser that tests look with: a Chromium of this machine, or the one that Playwright installs.

``python -m tests.hub.chromium`` says which one it is, and installs one where there is none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DOMAIN = "hub.localhost"
"""Browsers take all below it for this machine, and for as safe as https, so that all their protections count."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "No Chromium was found: nothing was tested that people see in a browser. Install one, such as with "
    "`apt-get install chromium`, or with `playwright install --with-deps chromium`."
)
INSTALL_SECONDS = 300


def found() -> str | None:
    """The path of a Chromium; None where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    for name in NAMES:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        return str(own) if own.is_file() else None


@contextmanager
def started(path: str) -> Iterator[Any]:
    """A browser, until the block ends."""
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def main() -> None:
    path = found()
    if path is None:
        print("There is no Chromium; Playwright installs one.", flush=True)
        try:
            subprocess.run(
                [sys.executable, "-m", "playwright", "install", "chromium"], timeout=INSTALL_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(f"That failed: {error}", flush=True)
        path = found()
    print(MISSING if path is None else f"Browser tests use {path}", flush=True)


if __name__ == "__main__":
    main()
