"""What others wrote never runs: each view, in JupyterLab and on the service's page, over hostile content."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jupyter_mlops.core.records import (
    Batch,
    Metric,
    NewRun,
    Param,
    Reason,
    ReasonKind,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.people import Person, prepare_home
from tests.hub.realhub import LEAD, MEMBER, RED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTEBOOK = Path(__file__).resolve().parents[2] / "labextension" / "src" / "test" / "hostile" / "executed.ipynb"
SET = "window.hostile = 'ran'"
TEXTS = (
    f'<img src=x onerror="{SET}">',
    f'"><script>{SET}</script>',
    f'<svg onload="{SET}"><script>{SET}</script></svg>',
    f"[link](javascript:{SET.replace(' ', '')}) ![image](https://example.invalid/seen.png)",
    f'<iframe srcdoc="<script>parent.{SET[7:]}</script>"></iframe>',
    f'<math><mtext><table><mglyph><style><img src=x onerror="{SET}">',
    f'<a href="java&#115;cript:{SET}">entity</a><details open ontoggle="{SET}">x</details>',
)
ALL = "\n\n".join(TEXTS)
VEGA = {
    "$schema": "https://vega.github.io/schema/vega/v5.json",
    "signals": [{"name": "s", "init": f"event.view.{SET[7:]}"}],
    "marks": [{"type": "image", "encode": {"enter": {"url": {"value": "https://example.invalid/vega.png"}}}}],
}
WIDGETS = {
    "version_major": 2,
    "version_minor": 0,
    "state": {"m": {"model_name": "HTMLModel", "model_module": "@jupyter-widgets/controls", "state": {"value": ALL}}},
}
FILES = {
    "page.html": ALL,
    "image.svg": TEXTS[2],
    "image.png": TEXTS[2],
    "notes.md": ALL,
    "table.csv": "name,value\n" + "\n".join(json.dumps(text) + ",1" for text in TEXTS),
    "values.json": json.dumps({text: text for text in TEXTS}),
    "chart.vl.json": json.dumps(VEGA),
    "script.js": SET,
    f"{TEXTS[0].replace('/', '')}.txt": ALL,
}
TABS = ("Overview", "Charts", "Notebook", "Artifacts", "Environment", "Lineage")


def outputs() -> list[dict[str, Any]]:
    """Of every type that JupyterLab has a renderer for, some of which run scripts where they are trusted."""
    bundles: list[dict[str, Any]] = [{"text/html": text, "text/plain": text} for text in TEXTS]
    bundles += [
        {"text/markdown": ALL},
        {"image/svg+xml": TEXTS[2]},
        {"text/latex": f"$\\href{{javascript:{SET}}}{{x}}$ \\unicode{{<img src=x onerror={SET}>}}"},
        {"application/javascript": SET},
        {"application/vnd.vega.v5+json": VEGA},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "m", "version_major": 2, "version_minor": 0}},
        {"application/vnd.plotly.v1+json": {"data": [{"type": "scatter", "name": ALL}], "layout": {"title": ALL}}},
        {"application/geo+json": {"type": "Feature", "properties": {"x": ALL}}},
        {"text/vnd.mermaid": f'graph TD; A["{TEXTS[0]}"]'},
    ]
    shown = [{"output_type": "display_data", "data": bundle, "metadata": {}} for bundle in bundles]
    failed = {"output_type": "error", "ename": TEXTS[0], "evalue": TEXTS[1], "traceback": list(TEXTS)}
    return [*shown, {"output_type": "stream", "name": "stdout", "text": ALL}, failed]


def notebook() -> bytes:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    document["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": WIDGETS}
    document["metadata"]["title"] = TEXTS[0]
    document["cells"] += [
        {"cell_type": "markdown", "id": "written", "metadata": {}, "source": ALL},
        {
            "cell_type": "code",
            "id": "shown",
            "metadata": {},
            "source": ALL,
            "execution_count": 9,
            "outputs": outputs(),
        },
        {"cell_type": "raw", "id": "raw", "metadata": {"format": "text/html"}, "source": ALL},
    ]
    return json.dumps(document).encode()


@pytest.fixture(scope="module")
def content(hub: realhub.Hub) -> tuple[str, ...]:
    """By a member of the group, who means no good, for a lead who looks at it: paths of views."""
    with RemoteTracker(hub.direct_url, hub.token(MEMBER)) as tracker:
        experiment = tracker.experiments.create(TEXTS[0], owner=f"group:{RED}")
        run_ids = []
        for number in range(2):
            batch = Batch(
                params=tuple(
                    Param(f"param {place}", text + str(number), text + str(number)) for place, text in enumerate(TEXTS)
                ),
                metrics=tuple(Metric("metric", float(step + number), step) for step in range(3)),
                tags=(
                    *(Tag(f"tag {place}", text) for place, text in enumerate(TEXTS)),
                    Tag("mlflow.note.content", ALL),
                    Tag("mlops.notice", ALL),
                    Tag("mlops.git.commit", TEXTS[0]),
                ),
            )
            run = tracker.runs.create(
                NewRun(
                    experiment_id=experiment.experiment_id,
                    name=TEXTS[number],
                    source=TEXTS[2],
                    kind=RunKind.NOTEBOOK,
                    batch=batch,
                )
            )
            files = {name: text.encode() for name, text in FILES.items()}
            files |= {f"notebook/{name}.ipynb": notebook() for name in ("source", "executed")}
            files |= {"own.ipynb": notebook(), "m/MLmodel": b"flavors: {python_function: {}}"}
            files |= {"environment/requirements.txt": ALL.encode(), "environment/git.diff": ALL.encode()}
            for path, written in files.items():
                tracker.artifacts.put(run.run_id, path, io.BytesIO(written))
            tracker.runs.comment(run.run_id, f"{ALL} @{LEAD}")
            reason = Reason(kind=ReasonKind.ERROR, message=TEXTS[0], cell=0, traceback=ALL)
            tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED, reason=reason, hidden_state=TEXTS[0]))
            run_ids.append(run.run_id)
        name = TEXTS[0].replace("/", "").replace(":", "")
        model = tracker.models.register(name, run_ids[0], "m", description=ALL).model
        tracker.models.set_card(model, 1, ALL)
        request = tracker.promotions.request(model, 1, reason=ALL)
        tracker.promotions.comment(request.request_id, f"{ALL} @{LEAD}")
    first, second = run_ids
    return (
        f"experiments/{experiment.experiment_id}",
        f"compare?ids={first},{second}",
        "models",
        f"models/{quote(model, safe='')}",
        f"requests/{request.request_id}",
        f"runs/{second}",
        f"runs/{first}",
    )


def look(person: Person, path: str) -> None:
    """All of a view: what it shows first, each of its tabs, each file, and what unfolds."""
    view = person.view
    view.get_by_role("heading", level=1).first.wait_for()
    person.page.wait_for_load_state("networkidle")
    for tab in TABS if path.startswith("runs/") else ():
        view.get_by_role("tab", name=tab).click()
        if tab == "Artifacts":
            for file in view.locator(".jp-mlops-tree button[title]").all():
                file.click()
                view.locator(".jp-mlops-actions").get_by_text(file.get_attribute("title") or "", exact=True).wait_for()
                person.page.wait_for_load_state("networkidle")
        if tab == "Notebook":
            view.locator(".jp-mlops-cell").last.scroll_into_view_if_needed()
            view.locator(".jp-mlops-withheld").last.scroll_into_view_if_needed()
        person.page.wait_for_load_state("networkidle")
    for folded in view.locator("summary").all():
        folded.click()
    for kept in ("Copy as code", "Register model"):
        for button in view.get_by_role("button", name=kept).all():
            button.click()
    # Links, as a person would follow them.
    for link in view.locator(".jp-mlops-rendered a").all():
        link.dispatch_event("click")


def ran(person: Person) -> list[Any]:
    """What was set on the window of any frame, and what left the hub."""
    found = [frame.evaluate("window.hostile") for frame in person.page.frames]
    return [each for each in found if each is not None] + person.dialogs + person.left


@pytest.mark.parametrize("place", ["lab", "page"])
@pytest.mark.usefixtures("lead_server")
def test_nothing_of_it_runs(hub: realhub.Hub, browser: Any, content: tuple[str, ...], place: str) -> None:
    lead = Person(hub, browser, LEAD)
    if place == "lab":
        prepare_home(hub, LEAD)
        lead.log_in_at_lab()
        lead.page.locator(".jp-SideBar [data-id=jp-mlops-sidebar]").click()
        lead.page.locator("#jp-mlops-sidebar").get_by_text("onerror").first.wait_for()
    else:
        lead.log_in_at_the_service()
    for path in content:
        if place == "lab":
            lead.open_view(path)
        else:
            lead.page.goto(f"{hub.service_url}/{path}")
        look(lead, path)
        assert ran(lead) == [], path
    # A page in which it could run: what was looked for is what would be found.
    lead.page.evaluate(f"{SET}")
    assert ran(lead) == ["ran"]
    lead.page.context.close()
