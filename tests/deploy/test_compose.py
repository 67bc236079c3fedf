"""The recipe for docker compose: its file checked, and what it starts of ours started here as processes."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import boto3
import compose_spec
import pytest
import requests
import sqlalchemy as sa
import yaml
from click.testing import CliRunner

from jupyter_mlops.cli.main import root
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.remote import RemoteTracker
from tests import node
from tests.hub import realhub
from tests.ports import free_ports
from tests.store import object_stores

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
PAGE = (ROOT / "docs" / "deploy-compose.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?(?P<message>[^}]*))\}")


def text() -> str:
    return (FOLDER / "compose.yaml").read_text(encoding="utf-8")


def needed() -> list[str]:
    """The variables that the docs tell to write into ``.env``."""
    found = re.search(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return [line.partition("=")[0] for line in found[1].splitlines()]


def interpolated(environment: Mapping[str, str]) -> str:
    """As Compose does it."""
    return VARIABLE.sub(lambda found: environment.get(found["name"]) or found["default"], text())


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {name: "ada" if name == "HUB_ADMIN" else secrets.token_hex(32) for name in needed()}


@pytest.fixture(scope="module")
def services(environment: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolated(environment))["services"]
    return found


def stages() -> dict[str, str]:
    """The stages of the Dockerfile, by name."""
    dockerfile = (FOLDER.parent / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL))


def test_it_is_a_compose_file(environment: dict[str, str]) -> None:
    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(interpolated(environment))))
    parsed.validate()
    assert len(parsed) == 8


def test_the_proxy_is_the_one_of_the_tests() -> None:
    (major,) = re.findall(r"npm install --global configurable-http-proxy@(\d+)$", stages()["proxy"], re.MULTILINE)
    lock = json.loads((ROOT / "tests" / "node" / "package-lock.json").read_text(encoding="utf-8"))
    assert lock["packages"]["node_modules/configurable-http-proxy"]["version"].startswith(f"{major}.")


def test_the_docs_say_what_must_be_set() -> None:
    assert {found["name"] for found in VARIABLE.finditer(text()) if found["message"] is not None} == set(needed())
    assert "HUB_ADDRESS" in PAGE
    for name in yaml.safe_load(text())["services"]:
        assert f"| `{name}` |" in PAGE


def test_images_are_built_that_the_dockerfile_has(services: dict[str, Any]) -> None:
    built = {each["image"]: each["build"]["target"] for each in services.values() if "build" in each}
    assert set(built.values()) <= set(stages())
    for each in services.values():
        if each["image"].startswith("jupyter-mlops"):
            assert each["image"] in built
    assert services["hub"]["environment"]["SERVER_IMAGE"] == services["server"]["image"]
    for source in re.findall(r"^COPY (\S+)", (FOLDER.parent / "Dockerfile").read_text(), re.MULTILINE):
        assert (ROOT / source).exists()


def test_the_images_install_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras that the package has, and commands of ours that parse."""
    extras = set(distribution("jupyter-mlops").metadata.get_all("Provides-Extra") or ())
    monkeypatch.setattr("click.Command.invoke", lambda self, context: None)
    ours = 0
    for stage, lines in stages().items():
        for wanted in re.findall(r"'/src\[([\w,]+)\]'", lines):
            assert set(wanted.split(",")) <= extras
        if '"jupyter_mlops"' in lines:
            ours += 1
            assert CliRunner().invoke(root, command_of(stage)[3:]).exit_code == 0
    assert ours == 2


def test_users_reach_the_service_and_not_what_it_keeps(services: dict[str, Any]) -> None:
    networks = yaml.safe_load(text())["networks"]
    users = next(name for name, network in networks.items() if network and network.get("name") == "jupyterhub-servers")
    assert services["hub"]["environment"]["SERVER_NETWORK"] == networks[users]["name"]
    reached = {name for name, each in services.items() if users in each.get("networks", ())}
    assert reached == {"proxy", "hub", "mlops", "worker"}
    assert networks["data"]["internal"] is True


def test_what_is_waited_for_can_be_healthy(services: dict[str, Any]) -> None:
    for each in services.values():
        waited = each.get("depends_on", {})
        if isinstance(waited, dict):
            for name, how in waited.items():
                assert how["condition"] != "service_healthy" or "healthcheck" in services[name]


class Deployed:
    """The recipe's processes on this machine; ``here`` puts its places for those of the containers."""

    def __init__(self, folder: Path, database_url: str, store: object_stores.Store) -> None:
        self.folder = folder
        self.public, self.proxy_api, self.hub, self.service = free_ports(4)
        self.tester = secrets.token_hex(16)
        self.store = store
        self._places = {
            "=0.0.0.0": "=127.0.0.1",
            "--port=8000": f"--port={self.public}",
            "--api-port=8001": f"--api-port={self.proxy_api}",
            "http://:8000": f"http://127.0.0.1:{self.public}",
            "http://proxy:8001": f"http://127.0.0.1:{self.proxy_api}",
            "http://hub:8081": f"http://127.0.0.1:{self.hub}",
            "http://0.0.0.0:8081": f"http://127.0.0.1:{self.hub}",
            "http://mlops:10380": f"http://127.0.0.1:{self.service}",
            "http://0.0.0.0:10380": f"http://127.0.0.1:{self.service}",
            "http://127.0.0.1:10380": f"http://127.0.0.1:{self.service}",
            "http://objects:8333": store.environment["AWS_ENDPOINT_URL"],
            "/srv/jupyterhub": str(folder),
            'authenticator_class = "native"': 'authenticator_class = "dummy"',
            'spawner_class = "docker"': 'spawner_class = "simple"',
        }
        self._database = database_url

    def here(self, text: str) -> str:
        for place, ours in self._places.items():
            text = text.replace(place, ours)
        return re.sub(r"postgresql://mlops:\w+@db/mlops", lambda _: self._database, text)

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The container's, and what any process needs."""
        given = {name: self.here(value) for name, value in service["environment"].items()}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **given}

    @contextmanager
    def running(self, words: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        with (
            (self.folder / f"{Path(words[-1]).name}.log").open("wb") as log,
            subprocess.Popen(
                [self.here(word) for word in words], cwd=self.folder, env=environment, stdout=log, stderr=log
            ) as process,
        ):
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def command_of(stage: str) -> list[str]:
    found = re.search(r"^CMD (.*)$", stages()[stage], re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return [sys.executable, *words[1:]] if words[0] == "python" else words


@pytest.fixture(scope="module")
def deployed(
    services: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres_server: Any
) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("compose")
    database_url = postgres_server.new_database()
    with ExitStack() as running:
        running.callback(postgres_server.drop, database_url)
        deployed = Deployed(folder, database_url, running.enter_context(object_stores.s3()))
        bucket = [sys.executable, *services["bucket"]["command"][1:]]
        for _ in ("makes it", "leaves it"):
            subprocess.run(bucket, env=deployed.environment(services["bucket"]), cwd=folder, check=True, timeout=60)
        proxy = [*node.command("configurable-http-proxy"), *services["proxy"]["command"]]
        running.enter_context(deployed.running(proxy, deployed.environment(services["proxy"])))
        tester = {"name": "tester", "api_token": deployed.tester}
        role = {"name": "tester", "services": ["tester"], "scopes": ["admin:users", "tokens"]}
        config = deployed.here((FOLDER / "jupyterhub_config.py").read_text(encoding="utf-8"))
        config += f"c.JupyterHub.services.append({tester!r})\nc.JupyterHub.load_roles.append({role!r})\n"
        (folder / "jupyterhub_config.py").write_text(config, encoding="utf-8")
        hub = [sys.executable, "-m", *command_of("hub")[:-1], str(folder / "jupyterhub_config.py")]
        running.enter_context(deployed.running(hub, deployed.environment(services["hub"])))
        running.enter_context(deployed.running(command_of("service"), deployed.environment(services["mlops"])))

        def ready() -> bool:
            hub_answers = requests.get(f"http://127.0.0.1:{deployed.hub}/hub/api/", timeout=5).ok
            return hub_answers and requests.get(f"{public(deployed)}/ready", timeout=5).json()["status"] == "ready"

        realhub.until(ready, "the hub, its proxy and the service start")
        yield deployed


def public(deployed: Deployed) -> str:
    return f"http://127.0.0.1:{deployed.public}/services/mlops"


@pytest.mark.slow
def test_what_is_recorded_through_the_proxy_is_in_the_database_and_the_bucket(deployed: Deployed) -> None:
    api = f"http://127.0.0.1:{deployed.hub}/hub/api/users/ada"
    header = realhub.authorization(deployed.tester)
    requests.post(api, headers=header, timeout=30)
    token = requests.post(f"{api}/tokens", headers=header, json={}, timeout=30).json()["token"]
    with RemoteTracker(public(deployed), token) as tracker:
        experiment = tracker.experiments.ensure("compose")
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        tracker.artifacts.put(run.run_id, "weights.bin", io.BytesIO(b"weights"))
    keys = boto3.client(
        "s3",
        endpoint_url=deployed.store.environment["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="mlops",
        aws_secret_access_key="any",
    ).list_objects_v2(Bucket="mlops", Prefix="artifacts/")
    assert [each["Size"] for each in keys["Contents"]] == [len(b"weights")]
    engine = sa.create_engine(
        deployed.here("postgresql://mlops:x@db/mlops").replace("postgresql:", "postgresql+psycopg:")
    )
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from run")).scalar() == 1
    engine.dispose()


@pytest.mark.slow
def test_people_log_in_to_the_services_page(deployed: Deployed) -> None:
    """By the proxy to the service, from there to the hub's login and back, with nothing to confirm."""
    browser = requests.Session()
    form = browser.get(f"{public(deployed)}/", timeout=30)
    assert "/hub/login" in form.url
    page = browser.post(form.url, data=realhub.filled_in(form.text, "ada"), timeout=30)
    assert page.url == f"{public(deployed)}/"
    assert "<strong>ada</strong>" in page.text


@pytest.mark.slow
def test_the_worker_is_let_in(services: dict[str, Any], deployed: Deployed) -> None:
    """With its own token; there is nothing to do."""
    command = [*command_of("worker"), "--once", "--json"]
    environment = deployed.environment(services["worker"])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.slow
def test_the_health_check_tells(services: dict[str, Any], deployed: Deployed) -> None:
    kind, _, *words = services["mlops"]["healthcheck"]["test"]
    assert kind == "CMD"
    command = [sys.executable, *map(deployed.here, words)]
    assert subprocess.run(command, check=False, timeout=30).returncode == 0
    away = [word.replace("/ready", "/nothing") for word in command]
    assert subprocess.run(away, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode == 1
