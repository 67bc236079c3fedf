"""People at a real hub, each with a browser of their own: what they type, press and see."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hub import realhub

PATIENCE_MS = 60_000
"""What a page may take on a busy machine."""
DESK = {"width": 1440, "height": 810}
PHONE = {"width": 390, "height": 780}
SETTINGS = {
    "apputils-extension/themes": {"adaptive-theme": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
"""Of JupyterLab: the theme is that which the browser prefers, and nothing is asked of the world."""


def prepare_home(hub: realhub.Hub, user: str) -> Path:
    """The home of ``user``'s server, with JupyterLab set up for looking at it."""
    home = hub.folder / "users" / user
    for name, values in SETTINGS.items():
        file = home / ".jupyter" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    return home


class Person:
    """Somebody in front of a browser; ``page`` is what they look at."""

    def __init__(self, hub: realhub.Hub, browser: Any, user: str, size: dict[str, int] = DESK) -> None:
        self.hub = hub
        self.user = user
        context = browser.new_context(viewport=size, permissions=["clipboard-read", "clipboard-write"])
        context.set_default_timeout(PATIENCE_MS)
        context.set_default_navigation_timeout(2 * PATIENCE_MS)
        self.page = context.new_page()
        self.left: list[str] = []
        """What was asked for outside the hub."""
        context.on("request", self._notice)
        self.dialogs: list[str] = []
        self.page.on("dialog", self._dismiss)

    def _notice(self, request: Any) -> None:
        if not request.url.startswith((self.hub.url, self.hub.url.replace("http", "ws", 1), "blob:", "data:")):
            self.left.append(request.url)

    def _dismiss(self, dialog: Any) -> None:
        if dialog.type != "beforeunload":
            self.dialogs.append(dialog.message)
        dialog.accept()

    def log_in(self, path: str) -> None:
        """Open a path of the hub, fill in the hub's form and arrive there."""
        self.page.goto(self.hub.url + path)
        self.page.fill("#username_input", self.user)
        self.page.fill("#password_input", realhub.PASSWORD)
        self.page.click("#login_submit")

    def log_in_at_the_service(self, path: str = "") -> None:
        self.log_in(f"/services/mlops/{path}")
        self.page.get_by_text(f"You are {self.user}").wait_for()

    def log_in_at_lab(self, query: str = "") -> None:
        """By way of the page on which the hub starts a server."""
        self.log_in(f"/hub/user-redirect/lab{query}")
        self.page.wait_for_url(re.compile(rf"/user/{self.user}/lab"), timeout=2 * PATIENCE_MS)
        self.await_lab()

    def await_lab(self) -> None:
        self.page.locator("#jp-main-dock-panel").wait_for()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def open_view(self, path: str) -> None:
        """Open a view in JupyterLab by its link."""
        self.page.goto(f"{self.hub.url}/user/{self.user}/lab?mlops={path}")
        self.await_lab()

    @property
    def view(self) -> Any:
        """The view in front."""
        return self.page.locator(".jp-mlops-view:visible")

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def sees(self, text: str) -> None:
        self.page.get_by_text(text).locator("visible=true").first.wait_for()

    def shades(self) -> list[str]:
        """Light and dark, one after the other, light again at the end."""
        return ["dark", "light"]

    def shade(self, scheme: str) -> None:
        """Prefer light or dark, and wait until what is shown does."""
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        is_dark = "true" if scheme == "dark" else "false"
        self.page.wait_for_function(
            """isDark => {
              const light = document.body.dataset.jpThemeLight;
              return light === undefined || (light === 'true') === (isDark === 'false');
            }""",
            arg=is_dark,
        )


def seconds_until(condition: Callable[[], Any]) -> float:
    """How long ``condition`` takes, which waits for something."""
    begun = time.monotonic()
    condition()
    return time.monotonic() - begun
