"""From a notebook to ``production``, by what people press and see: two browsers at a real hub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.hub import realhub
from tests.hub.looks import Looks
from tests.hub.people import PHONE, Person, prepare_home, seconds_until
from tests.hub.realhub import LEAD, MEMBER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "breast-cancer.ipynb"
NOTEBOOK = "breast-cancer.ipynb"
MODEL = "tumours"
EXPERIMENT = "screening"
SEEN_SECONDS = 2.0
"""In which a change in one browser is seen in another."""
TRIES = 3
"""Of which the quickest counts, since other processes may hold a busy machine for a while."""
WAIT = """
import time
from pathlib import Path

while not (Path.home() / "go-on").exists():
    time.sleep(0.02)
"""


@pytest.fixture
def home(hub: realhub.Hub) -> Path:
    """The data scientist's, with the example: it stops after its training until there is a file."""
    home = prepare_home(hub, MEMBER)
    notebook = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    place = next(number for number, cell in enumerate(notebook["cells"]) if cell.get("id") == "training") + 1
    held = {"cell_type": "code", "id": "hold", "metadata": {}, "outputs": [], "execution_count": None, "source": WAIT}
    notebook["cells"].insert(place, held)
    (home / NOTEBOOK).write_text(json.dumps(notebook), encoding="utf-8")
    return home


def test_from_a_notebook_to_production(hub: realhub.Hub, browser: Any, home: Path, tmp_path: Path) -> None:
    before = cells(home / NOTEBOOK)
    ann, bea = Person(hub, browser, MEMBER), Person(hub, browser, LEAD, PHONE)
    looks = Looks()
    try:
        ann.log_in_at_lab(f"/tree/{NOTEBOOK}")
        run_id = fills_the_form(ann, looks)
        bea.log_in_at_the_service(f"runs/{run_id}")
        watches_it_live(ann, bea, home / "go-on")
        looks_at_all_of_a_run(ann, looks)
        they_see_what_the_other_says(ann, bea)
        sweeps(ann, looks)
        compares(ann, looks)
        first = registers_and_asks(ann, run_id, looks)
        lead_approves(hub, ann, bea, first, tmp_path, looks)
        second = registers_and_asks(ann, opens_a_child(ann), looks)
        lead_approves(hub, ann, bea, second, tmp_path, looks)
        lead_rolls_back(ann, bea, looks)
    except Exception:
        for person in (ann, bea):
            person.page.screenshot(path=tmp_path / f"{person.user}.png")
        (tmp_path / "axe.txt").write_text("\n".join(looks.problems), encoding="utf-8")
        raise
    assert not looks.problems, "\n".join(looks.problems)
    # JupyterLab saved it; no run changed it.
    assert cells(home / NOTEBOOK) == before
    # All of it came from the hub.
    assert (ann.left, bea.left, ann.dialogs, bea.dialogs) == ([], [], [], [])
    hub.stop_server(MEMBER)


def cells(path: Path) -> list[tuple[str, list[Any]]]:
    """The source and the outputs of each cell of a notebook."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [("".join(cell["source"]), cell.get("outputs", [])) for cell in document["cells"]]


def opens_the_form(person: Person) -> Any:
    """Of the notebook in front; by the button in its toolbar."""
    person.page.get_by_role("tab", name=NOTEBOOK).click()
    person.page.locator(".jp-NotebookPanel-toolbar:visible [data-jp-item-name=mlops-run]").click()
    form = person.page.locator(".jp-mlops-runform")
    form.wait_for()
    return form


def fills_the_form(ann: Person, looks: Looks) -> str:
    form = opens_the_form(ann)
    epochs = form.get_by_label("epochs", exact=True)
    assert epochs.get_attribute("placeholder") == "40"
    form.get_by_text("step size of the optimizer").wait_for()
    epochs.fill("many")
    form.get_by_role("alert").filter(has_text="whole number").wait_for()
    epochs.fill("20")
    form.get_by_label("Experiment", exact=True).fill(EXPERIMENT)
    form.get_by_text("1 run; it ends if this server is stopped.").wait_for()
    looks.at(ann, "run-form")
    form.get_by_role("button", name="Run", exact=True).click()
    ann.view.get_by_role("heading", level=1).wait_for()
    short = ann.view.locator(".jp-mlops-facts").get_by_role("button").last
    return copied(ann, short)


def copied(person: Person, button: Any) -> str:
    """What a button copies."""
    button.click()
    text: str = person.page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch("[0-9a-f]{32}", text), text
    return text


def status(person: Person, word: str) -> Any:
    return person.view.locator(".jp-mlops-run-title .jp-mlops-status").filter(has_text=word)


def watches_it_live(ann: Person, bea: Person, go_on: Path) -> None:
    """A run that waits in one of its cells, in the notebook server and on the lead's phone; then it ends."""
    for person in (ann, bea):
        status(person, "running").wait_for()
        person.view.locator(".jp-mlops-run-title").get_by_text(re.compile(r"cell \d+/\d+")).wait_for()
    ann.view.get_by_role("tab", name="Charts").click()
    ann.view.locator(".jp-mlops-charts canvas").nth(1).wait_for()
    go_on.write_text("", encoding="utf-8")
    for person in (ann, bea):
        status(person, "finished").wait_for()
    ann.view.get_by_text("auc", exact=True).wait_for()


def looks_at_all_of_a_run(ann: Person, looks: Looks) -> None:
    ann.view.locator(".jp-mlops-charts canvas").nth(1).wait_for()
    looks.at(ann, "run-charts", picture=True)
    shown = {
        "Overview": ann.view.get_by_text("learning_rate", exact=True),
        "Notebook": ann.view.get_by_text("Is this tumour malignant?"),
        "Artifacts": ann.view.get_by_text("training.png"),
        "Environment": ann.view.locator(".jp-mlops-packages").filter(has_text="jupyter"),
        "Lineage": ann.view.locator(".jp-mlops-lineage").get_by_text("breast-cancer", exact=True),
    }
    for tab, sight in shown.items():
        ann.view.get_by_role("tab", name=tab).click()
        sight.wait_for()
        if tab == "Artifacts":
            sight.click()
            ann.view.get_by_role("img", name="figures/training.png").wait_for()
        if tab == "Notebook":
            # Its figure was kept with it; what is far away is not drawn.
            ann.view.locator(".jp-mlops-cell").last.scroll_into_view_if_needed()
            ann.view.locator("img[src^='data:image/png']").first.scroll_into_view_if_needed()
        looks.at(ann, f"run-{tab.lower()}")
    opens_a_copy(ann)
    ann.view.get_by_role("tab", name="Overview").click()


def opens_a_copy(ann: Person) -> None:
    """The executed notebook among one's own files, beside the run's page."""
    ann.view.get_by_role("tab", name="Notebook").click()
    ann.button("Open a copy").click()
    ann.page.locator(".jp-Notebook:visible").get_by_role("heading", name="Is this tumour malignant?").wait_for()
    ann.page.locator(".lm-DockPanel-tabBar .lm-mod-current").get_by_title("Close").click()


def they_see_what_the_other_says(ann: Person, bea: Person) -> None:
    waits = []
    for number in range(TRIES):
        said = f"is the seed fixed? ({number}) @{MEMBER}"
        field = bea.view.get_by_label("Comment", exact=True)
        field.fill(said)
        bea.view.get_by_role("button", name="Comment", exact=True).click()
        heard = ann.view.locator(".jp-mlops-comment-text").filter(has_text=f"({number})")
        waits.append(seconds_until(heard.wait_for))
    assert min(waits) < SEEN_SECONDS, waits


def sweeps(ann: Person, looks: Looks) -> None:
    form = opens_the_form(ann)
    # As it was filled in last.
    assert form.get_by_label("epochs", exact=True).input_value() == "20"
    for name, values in (("learning_rate", "0.001, 0.02"), ("hidden_units", "4, 16")):
        form.get_by_role("button", name=f"Sweep {name}").click()
        form.get_by_label(name, exact=True).fill(values)
    form.get_by_text("4 runs, 2 at a time; they end if this server is stopped.").wait_for()
    looks.at(ann, "sweep-form", picture=True)
    form.get_by_role("button", name="Start the sweep").click()
    form.wait_for(state="detached")
    ann.view.locator(".jp-mlops-run-title").get_by_text(re.compile(r"\d of 4 runs done")).wait_for()
    sidebar = ann.page.locator("#jp-mlops-sidebar")
    ann.page.locator(".jp-SideBar [data-id=jp-mlops-sidebar]").click()
    sidebar.get_by_role("region", name="Running").locator(".jp-mlops-active").first.wait_for()
    looks.at(ann, "sidebar")
    status(ann, "finished").wait_for(timeout=240_000)


def compares(ann: Person, looks: Looks) -> None:
    ann.view.locator(".jp-mlops-facts").get_by_role("button", name=EXPERIMENT).click()
    table = ann.view.get_by_role("treegrid")
    table.get_by_role("row").nth(2).wait_for()
    table.get_by_role("button", name="Unfold").first.click()
    table.get_by_role("row").nth(6).wait_for()
    looks.at(ann, "runs", picture=True)
    sweep = table.locator("[aria-rowindex='2']")
    sweep.get_by_role("checkbox").check()
    ann.view.get_by_role("button", name="Compare 1").click()
    ann.view.get_by_text("hidden_units").first.wait_for()
    ann.view.locator("canvas").first.wait_for()
    looks.at(ann, "compare", picture=True)


def opens_a_child(ann: Person) -> str:
    """The first run of the sweep; gives its id."""
    ann.page.get_by_role("tab", name=EXPERIMENT).click()
    table = ann.view.get_by_role("treegrid")
    table.get_by_role("button", name="Unfold").click()
    table.locator("[aria-level='2'] a").first.click()
    ann.view.get_by_role("button", name="Register model").wait_for()
    return copied(ann, ann.view.locator(".jp-mlops-facts .jp-mlops-id"))


def registers_and_asks(ann: Person, run_id: str, looks: Looks) -> str:
    """Gives the request's id."""
    ann.open_view(f"runs/{run_id}")
    ann.view.get_by_role("button", name="Register model").click()
    ann.view.get_by_label("Name of the registered model").fill(MODEL)
    ann.view.get_by_role("button", name="Register", exact=True).click()
    ann.page.get_by_role("button", name="Show", exact=True).click()
    ann.view.get_by_role("button", name="Promote…").click()
    form = ann.view.get_by_role("form", name="Promote a version")
    form.get_by_label("Reason").fill("finds more of the malignant ones")
    form.get_by_text("Checks that must pass: loads.").wait_for()
    looks.at(ann, "promote")
    form.get_by_role("button", name="Ask", exact=True).click()
    decide = ann.view.get_by_role("link", name="Decide on the service’s page")
    decide.wait_for()
    found = re.search(r"requests/([0-9a-f]{32})", decide.get_attribute("href"))
    assert found is not None
    # Nor could the one who asks decide.
    assert not ann.view.get_by_role("button", name="Approve").count()
    looks.at(ann, "review")
    return found[1]


def lead_approves(hub: realhub.Hub, ann: Person, bea: Person, request_id: str, home: Path, looks: Looks) -> None:
    realhub.do_checks(hub, home)
    bea.page.get_by_text("Waiting for you").click()
    bea.page.locator(".jp-mlops-menu").get_by_role("button", name=re.compile(f"{MODEL} v")).click()
    bea.page.wait_for_url(re.compile(f"requests/{request_id}"))
    approve = bea.view.get_by_role("button", name="Approve", exact=True).first
    approve.wait_for()
    bea.view.get_by_text("finds more of the malignant ones").wait_for()
    bea.view.get_by_text("loads").first.wait_for()
    looks.at(bea, "review-phone", picture=True)
    approve.click()
    bea.view.get_by_label(re.compile("^Why")).fill("checked with the hospital")
    bea.view.locator(".jp-mlops-reason-form").get_by_role("button", name="Approve", exact=True).click()
    for person in (bea, ann):
        person.view.locator(".jp-mlops-state[data-state=promoted]").wait_for()


def lead_rolls_back(ann: Person, bea: Person, looks: Looks) -> None:
    for person in (ann, bea):
        person.view.locator(".jp-mlops-head").get_by_role("button", name=MODEL).click()
        person.view.get_by_text("production is version 2").wait_for()
    looks.at(ann, "model")
    # What decides for others is done on the service's page only.
    ann.view.get_by_role("link", name="Roll back on the service’s page").wait_for()
    bea.view.get_by_role("button", name="Roll back…").click()
    bea.view.get_by_label("Why").fill("the currency was wrong")
    looks.at(bea, "rollback-phone")
    bea.view.get_by_role("button", name="Roll back to version 1").click()
    for person in (bea, ann):
        person.view.get_by_text("production is version 1").wait_for()
