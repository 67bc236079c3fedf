"""How views look to those who see them, and to those who do not: axe's findings, and pictures for the docs."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from tests.hub.people import Person

AXE = Path(__file__).resolve().parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = "MLOPS_PICTURES"
"""The environment variable with a folder for pictures; without it none are made."""
COUNTED = ("serious", "critical")
COLORS = 128
"""Of a picture, so that it is small."""
RUN = """
async ({ ours, counted }) => {
  const { violations } = await axe.run({ include: ours }, { resultTypes: ['violations'] });
  return violations.filter(each => counted.includes(each.impact)).map(({ id, nodes }) =>
    `${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 200)} ${any[0]?.message ?? ''}`).join(' | ')}`);
}
"""
OURS = ["main", ".jp-mlops", ".jp-mlops-dialog"]


class Looks:
    """Gathers what axe finds, view by view, and makes pictures where they are wanted."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        folder = os.environ.get(PICTURES)
        self._folder = Path(folder).resolve() if folder else None

    def at(self, person: Person, name: str, *, picture: bool = False) -> None:
        """Look at what ``person`` sees, in dark and in light."""
        page = person.page
        for scheme in ("dark", "light"):
            person.shade(scheme)
            if page.evaluate("window.axe === undefined"):
                # Not as a script of the page, which its policy forbids.
                page.evaluate(AXE.read_text(encoding="utf-8"))
            ours = [selector for selector in OURS if page.locator(selector).locator("visible=true").count()]
            found = page.evaluate(RUN, {"ours": ours, "counted": COUNTED})
            self.problems += [f"{name} ({scheme}): {each}" for each in found]
            if picture and self._folder is not None:
                self._keep(page.screenshot(animations="disabled", caret="hide"), f"{name}-{scheme}.png")

    def _keep(self, png: bytes, name: str) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(png)) as image:
            image.convert("RGB").quantize(COLORS).save(self._folder / name, optimize=True)
