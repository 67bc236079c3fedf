"""The service as the hub's child: killed, it comes back with all that it acknowledged; without the hub it lets nobody
in; and JupyterHub 5 does as well."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.records import Batch, Metric, NewRun
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.realhub import LEAD, MEMBER, OUTSIDER, RED, authorization, until
from tests.ports import free_ports

pytestmark = pytest.mark.slow


def test_killed_it_is_started_again_and_has_what_it_acknowledged(hub: realhub.Hub) -> None:
    """Written one by one until the connection breaks: what was acknowledged is there, once; a login that began before
    ends after."""
    browser = requests.Session()
    form = browser.get(hub.service_url + "/", timeout=30)
    killed = hub.service_process()
    with RemoteTracker(hub.direct_url, hub.token(MEMBER)) as tracker:
        experiment = tracker.experiments.ensure("killed")
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        acknowledged: list[int] = []
        enough = threading.Event()

        def write() -> None:
            try:
                for step in range(1_000_000):
                    tracker.runs.log(
                        run.run_id, Batch(metrics=(Metric("loss", float(step), timestamp=step, step=step),))
                    )
                    acknowledged.append(step)
                    if step == 50:
                        enough.set()
            except MLOpsError:
                enough.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert enough.wait(60)
        os.kill(killed, signal.SIGKILL)
        writer.join(60)
        assert len(acknowledged) > 50

        hub.service_process(but=killed)
        until(lambda: requests.get(hub.service_url + "/health", timeout=5).ok, "the hub starts the service again")
        points = tracker.runs.history(run.run_id, "loss", limit=10_000).items
        steps = [point.step for point in points]
        assert steps[: len(acknowledged)] == acknowledged
        assert len(steps) <= len(acknowledged) + 1

    page = browser.post(form.url, data=realhub.filled_in(form.text, MEMBER), timeout=30)
    assert page.url == hub.service_url + "/", page.text
    assert "<strong>ann</strong>" in page.text


def test_a_replica_that_the_hub_did_not_start_takes_part(hub: realhub.Hub) -> None:
    """It has what the docs say that an external service needs, no more; a login begins at it and ends at the other."""
    with realhub.replica(hub) as url:
        shown = authorization(hub.token(LEAD))
        asked = [
            requests.get(each, headers=shown, timeout=30).content
            for each in (f"{url}api/v1/principal", hub.api + "principal")
        ]
        assert asked[0] == asked[1]
        # Cookies know no ports: what the replica sets is sent to the hub's proxy too.
        browser = requests.Session()
        begun = browser.get(url, timeout=30, allow_redirects=False)
        form = browser.get(hub.url + begun.headers["Location"], timeout=30)
        page = browser.post(form.url, data=realhub.filled_in(form.text, MEMBER), timeout=30)
        assert page.url == hub.service_url + "/", page.text
        assert "<strong>ann</strong>" in page.text
        assert "<strong>ann</strong>" in browser.get(url, timeout=30).text
        assert "missing: " not in (hub.folder / "replica.log").read_text()


def says_what_is_missing(hub: realhub.Hub) -> None:
    """With a token of a service that has no role, and with one of another service, a replica says so at start, and
    serves; with the right one it says nothing."""
    log = hub.folder / "replica.log"
    bare = {"JUPYTERHUB_SERVICE_NAME": "bare", "JUPYTERHUB_SERVICE_PREFIX": "/services/bare/"}
    with realhub.replica(hub, JUPYTERHUB_API_TOKEN=hub.bare_token, **bare) as url:
        for scope in ("access:services!service=bare", "custom:mlops:write"):
            (line,) = until(lambda: re.findall(rf"missing: {scope}\b.*", log.read_text()), f"{scope} is missing")  # noqa: B023
            assert '{"name": "user", "services": ["bare"], "scopes": ["self", "access' in line
        (line,) = until(lambda: re.findall(r"missing: read:groups\b.*", log.read_text()), "read:groups is missing")
        assert '{"name": "bare-service", "services": ["bare"], "scopes": ["read:groups"]}' in line
        assert log.read_text().count("missing: ") == 3
        assert requests.get(f"{url}health", timeout=30).status_code == 200
    with realhub.replica(hub, JUPYTERHUB_API_TOKEN=hub.ci_token) as url:
        until(lambda: "missing: JUPYTERHUB_API_TOKEN is one of the service 'ci'" in log.read_text(), "another's token")
        assert requests.get(f"{url}health", timeout=30).status_code == 200
    # Callers of other tests may have come with too little.
    assert not re.search("missing: (?!somebody came)", hub.log)


def test_at_start_the_service_says_what_is_missing(hub: realhub.Hub) -> None:
    says_what_is_missing(hub)


def documented(language: str) -> str:
    """The first two blocks of that language in the docs for administrators, but for what installs."""
    page = (Path(__file__).parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return "\n".join([block for block in found if not block.startswith("pip ")][:2])


def is_as_documented(hub: realhub.Hub) -> None:
    """The long form of the docs lacks nothing, leads decide for their group, and CI records for it."""
    assert "jupyter-mlops left" not in hub.log
    assert "missing: " not in hub.log
    hub.ask("POST", "groups/churn-leads/users", json={"users": [OUTSIDER]})

    def principal(token: str) -> Principal:
        answer = requests.get(f"{hub.direct_url}/api/v1/principal", headers=authorization(token), timeout=30)
        return wire.decode(answer.content, wire.JSON, Principal)

    lead = principal(hub.token(OUTSIDER))
    assert (lead.scope, lead.group_scopes, lead.decides) == (Scope.WRITE, (("churn", Scope.PROMOTE),), True)
    assert dict(principal(hub.ci_token).group_scopes)["churn"] is Scope.WRITE
    server = hub.start_server(MEMBER)
    assert server["MLOPS_TRACKING_URL"] == hub.direct_url
    kernel = principal(server["JUPYTERHUB_API_TOKEN"])
    assert (kernel.name, kernel.scope, kernel.decides) == (MEMBER, Scope.WRITE, False)
    hub.stop_server(MEMBER)


def test_what_the_docs_show_is_all_that_a_hub_needs(tmp_path: Path) -> None:
    with realhub.running(tmp_path, f"sqlite:///{tmp_path / 'mlops.db'}", first=documented("python")) as hub:
        assert re.search(r"JupyterHub version 6\.", hub.log)
        is_as_documented(hub)


def test_what_the_docs_show_without_a_hub(tmp_path: Path, postgres_url: str) -> None:
    """Typed as it stands there, in a shell, with a database and a port of this test's."""
    (port,) = free_ports(1)
    create, serve, client = (
        line.replace("postgresql://mlops@db/mlops", f"'{postgres_url}'").replace("s3://team-mlops/artifacts", "files")
        for line in documented("bash").replace(":10380", f":{port}").split("\n", 2)
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTERHUB_", "MLOPS_"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "MLOPS_HOME": str(tmp_path / "home"),
    }

    def typed(line: str) -> str:
        shell = ["bash", "-euc", line]
        ended = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    token = typed(create).strip()
    assert token.startswith("mlops_")
    command = ["bash", "-c", f"exec {serve} --port {port}"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == f"jupyter-mlops is ready at http://127.0.0.1:{port}/\n"
            assert "mlops_..." in client
            typed(client.replace("mlops_...", token))
        finally:
            service.terminate()


@pytest.fixture(scope="module")
def older_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realhub.Hub]:
    """A hub of the version before, with a service that uses that version too."""
    package = tmp_path_factory.mktemp("jupyterhub5")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(package), "jupyterhub>=5,<6"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if installed.returncode != 0:
        pytest.skip(f"JupyterHub 5 cannot be installed here: {installed.stderr[-300:]}")
    folder = tmp_path_factory.mktemp("hub5")
    database = f"sqlite:///{folder / 'mlops.db'}"
    with realhub.running(folder, database, pythonpath=str(package), first=documented("python")) as hub:
        assert re.search(r"JupyterHub version 5\.", hub.log)
        yield hub


def test_on_jupyterhub_5_too(older_hub: realhub.Hub) -> None:
    says_what_is_missing(older_hub)
    is_as_documented(older_hub)


def test_jupyterhub_5_and_a_hub_that_is_gone(older_hub: realhub.Hub) -> None:
    hub = older_hub
    token = hub.token(LEAD)

    def ask(given: str) -> requests.Response:
        return requests.get(f"{hub.direct_url}/api/v1/principal", headers=authorization(given), timeout=30)

    lead = Principal(LEAD, frozenset({RED}), Scope.WRITE, group_scopes=((RED, Scope.PROMOTE),))
    assert wire.decode(ask(token).content, wire.JSON, Principal) == lead
    browser = hub.log_in(MEMBER)
    assert "<strong>ann</strong>" in browser.get(hub.service_url + "/", timeout=30).text
    assert browser.post(hub.api + "experiments/ensure", json={"name": "five"}, timeout=30).ok
    assert ask("nobody").status_code == 401

    (hub_process,) = [each for each in psutil.Process().children() if "jupyterhub" in each.cmdline()[2:3] and
                      Path(each.cwd()) == hub.folder]  # fmt: skip
    left = hub_process.children(recursive=True)
    hub_process.kill()
    hub_process.wait()
    try:
        until(lambda: ask(token).status_code == 503, "what the hub said counts no more", 30)
        for given in (token, "somebody else"):
            answer = ask(given)
            assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        cookies = {cookie.name: str(cookie.value) for cookie in browser.cookies}

        def page() -> int:
            return requests.get(f"{hub.direct_url}/", cookies=cookies, timeout=30, allow_redirects=False).status_code

        until(lambda: page() == 503, "no login counts either", 30)
    finally:
        for each in left:
            each.terminate()
        psutil.wait_procs(left, 15)
