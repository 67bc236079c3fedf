"""Runs that are cancelled, repeated, edited and reproduced, by what people press and see: in JupyterLab, in Jupyter
Notebook, and on a phone."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.looks import Looks
from tests.hub.people import PHONE, Person, prepare_home
from tests.hub.realhub import OTHER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTEBOOK = "again.ipynb"
EXPERIMENT = "again"
SECRET = "hush hush"
MODEL = "again and again"
PARAMETERS = """
depth: int = 3  # of the trees
api_key = ""
"""
TRAINING = """
import time
from pathlib import Path
import jupyter_mlops as mlops

while not (Path.home() / "go-on").exists():
    time.sleep(0.02)
mlops.log_metric("score", float(depth))
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def home(hub: realhub.Hub) -> Path:
    """Of a data scientist, with a notebook that waits in its last cell until there is a file."""
    home = prepare_home(hub, OTHER)
    parameters = nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]})
    document = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(TRAINING.strip())])
    document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    # So JupyterLab saves one before it has seen a kernel.
    document.metadata["language_info"] = {"name": ""}
    nbformat.write(document, home / NOTEBOOK)
    return home


@pytest.fixture(scope="module")
def cyn(hub: realhub.Hub, browser: Any, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """In front of her JupyterLab, with the notebook open."""
    person = Person(hub, browser, OTHER)
    try:
        person.log_in_at_lab(f"/tree/{NOTEBOOK}")
        yield person
    finally:
        person.page.screenshot(path=tmp_path_factory.getbasetemp() / "cyn.png")
        person.page.context.close()
        hub.stop_server(OTHER)


def form_of(person: Person) -> Any:
    """The form of the notebook in front, by the button in its toolbar."""
    person.page.locator(".jp-NotebookPanel-toolbar:visible [data-jp-item-name=mlops-run]").click()
    form = person.page.locator(".jp-mlops-runform")
    form.get_by_label("depth", exact=True).wait_for()
    return form


def start(form: Any, button: str = "Run") -> None:
    form.get_by_label("api_key").fill(SECRET)
    form.get_by_role("button", name=button, exact=True).click()
    form.wait_for(state="detached")


def ends(person: Person, word: str) -> None:
    person.view.locator(".jp-mlops-run-title .jp-mlops-status").filter(has_text=word).wait_for()


def test_a_run_is_cancelled_repeated_edited_and_reproduced(cyn: Person, home: Path) -> None:
    form = form_of(cyn)
    form.get_by_label("depth", exact=True).fill("4")
    start(form)
    ends(cyn, "running")
    cyn.page.locator(".jp-SideBar [data-id=jp-mlops-sidebar]").click()
    cyn.page.locator("#jp-mlops-sidebar").get_by_role("button", name=re.compile("^Cancel ")).click()
    cyn.button("Cancel the run").click()
    ends(cyn, "killed")

    (home / "go-on").touch()
    cyn.view.get_by_role("button", name="Re-run", exact=True).click()
    # What it was given is kept nowhere.
    cyn.page.get_by_role("dialog").get_by_label("api_key").fill(SECRET)
    cyn.button("Run again").click()
    ends(cyn, "finished")
    cyn.view.get_by_text("secret, not recorded").wait_for()

    cyn.view.get_by_role("button", name="Re-run with edits…").click()
    form = cyn.page.locator(".jp-mlops-runform")
    depth = form.get_by_label("depth", exact=True)
    depth.wait_for()
    assert depth.input_value() == "4"
    assert form.get_by_label("api_key").input_value() == ""
    depth.fill("5")
    start(form)
    ends(cyn, "finished")
    cyn.view.get_by_role("row", name="depth 5").wait_for()

    cyn.view.get_by_role("button", name="Reproduce").click()
    reproduce = cyn.view.get_by_role("region", name="Reproduce")
    reproduce.get_by_label("api_key").fill(SECRET)
    reproduce.get_by_role("button", name="Run it again").click()
    reproduce.get_by_text("✓ equal").first.wait_for()
    reproduce.get_by_text("packages: the same").wait_for()


def test_after_a_reload_the_form_is_as_it_was_and_searches(cyn: Person) -> None:
    cyn.page.reload()
    cyn.await_lab()
    cyn.page.get_by_role("tab", name=NOTEBOOK).click()
    form = form_of(cyn)
    assert form.get_by_label("depth", exact=True).input_value() == "5"
    assert form.get_by_label("api_key").input_value() == ""
    form.get_by_role("button", name="Sweep depth").click()
    form.get_by_label("depth", exact=True).fill("int(1, 9)")
    form.get_by_label("Points").select_option(label="a search for the best")
    form.get_by_role("alert").filter(has_text="name of the metric").wait_for()
    form.get_by_label("Metric to optimize").fill("score")
    form.get_by_label("How many").fill("2")
    form.get_by_label("Stop a run").fill("soon")
    form.get_by_role("alert").filter(has_text="soon").wait_for()
    form.get_by_label("Stop a run").fill("nan")
    form.get_by_text("2 runs, 2 at a time").wait_for()
    looks = Looks()
    looks.at(cyn, "search-form")
    start(form, "Start the sweep")
    ends(cyn, "finished")

    cyn.view.locator(".jp-mlops-facts").get_by_role("button", name=EXPERIMENT).click()
    cyn.view.get_by_role("treegrid").wait_for()
    cyn.view.get_by_role("button", name="Chart").click()
    cyn.view.get_by_role("img", name=re.compile("runs by depth and score")).locator("canvas").first.wait_for()
    looks.at(cyn, "runs-chart")
    assert not looks.problems, "\n".join(looks.problems)


def test_jupyter_notebook_has_the_form_and_shows_runs_in_another_tab(cyn: Person, hub: realhub.Hub) -> None:
    cyn.page.goto(f"{hub.url}/user/{OTHER}/notebooks/{NOTEBOOK}")
    form = form_of(cyn)
    # The sweep is what was entered last.
    form.get_by_role("button", name="Sweep depth").click()
    with cyn.page.context.expect_page() as opened:
        start(form)
    opened.value.wait_for_url(re.compile(r"/lab\?mlops=runs%2F[0-9a-f]{32}"))
    opened.value.close()


def test_views_fit_a_phone(cyn: Person, hub: realhub.Hub, browser: Any) -> None:
    with RemoteTracker(hub.direct_url, hub.token(OTHER)) as tracker:
        (experiment,) = tracker.experiments.search(f"name = '{EXPERIMENT}'").items
        first, second, *_ = tracker.runs.search([experiment.experiment_id], "attributes.status = 'FINISHED'").items
        tracker.artifacts.put(first.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
        tracker.models.register(MODEL, first.run_id, "m")
    phone, looks = Person(hub, browser, OTHER, PHONE), Looks()
    phone.log_in_at_the_service()
    paths = {
        "experiment": f"experiments/{experiment.experiment_id}",
        "run": f"runs/{first.run_id}",
        "compare": f"compare?ids={first.run_id},{second.run_id}",
        "models": "models",
        "model": f"models/{MODEL}",
    }
    for name, path in paths.items():
        phone.page.goto(f"{hub.service_url}/{path}")
        phone.view.get_by_role("heading", level=1).first.wait_for()
        phone.page.wait_for_load_state("networkidle")
        looks.at(phone, f"{name}-phone")
        wider = phone.page.evaluate(OVERFLOW)
        if wider > 0:
            looks.problems.append(f"{name}-phone: {wider} pixels wider than the phone")
    phone.page.context.close()
    assert not looks.problems, "\n".join(looks.problems)
    assert (phone.left, cyn.left, cyn.dialogs) == ([], [], [])
