"""A real JupyterHub with the service, on free ports of this machine."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests

import jupyter_mlops
from tests import node
from tests.ports import free_ports

T = TypeVar("T")

PASSWORD = "correct horse battery"
CACHE_SECONDS = 1
"""How long the service under test remembers what the hub said."""

MEMBER, LEAD, OTHER, OUTSIDER, ADMIN, HUB_ADMIN = "ann", "bea", "cyn", "dan", "eve", "hal"
RED, BLUE = "red", "blue"
ACCESS = "access:services!service=mlops"
"""The scope to reach the service at all."""

_CONFIG = """
import sys
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.command = {proxy_command}
c.ConfigurableHTTPProxy.auth_token = "{proxy_token}"
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.cookie_secret_file = "{folder}/hub_cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"hal"}}
c.JupyterHub.spawner_class = "simple"
c.Spawner.args = ["--allow-root"]
c.Spawner.cmd = [sys.executable, "{folder}/server.py"]
c.Spawner.environment = {{"JUPYTER_PATH": "{folder}/share"}}
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/users/{{username}}"
c.JupyterHub.load_groups = {{"red": {{"users": ["ann", "bea"]}}, "blue": {{"users": ["cyn"]}}}}
{first}
c.JupyterHub.services += [
    {{"name": "tester", "api_token": "{tester}"}},
    {{"name": "ci", "api_token": "{ci}"}},
    {{"name": "bare", "api_token": "{bare}"}},
]
c.JupyterHub.load_roles += [
    {{"name": "tester", "services": ["tester"], "scopes": ["admin:users", "admin:groups", "admin:servers", "tokens",
                                                              "shares"]}},
    {{"name": "mlops-lead", "users": ["bea"], "scopes": ["custom:mlops:promote!group=red"]}},
    {{"name": "mlops-admin", "users": ["eve"], "scopes": ["custom:mlops:admin"]}},
    {{"name": "mlops-ci", "services": ["ci"], "scopes": ["access:services!service=mlops",
                                                        "custom:mlops:write!group=red"]}},
]

c.JupyterHub.subdomain_host = "{subdomain_host}"

from jupyter_mlops.hub import configure
configure(c, url="http://127.0.0.1:{service}", db_url="{db_url}", artifacts_url="{folder}/artifacts")
(mlops,) = [each for each in c.JupyterHub.services if each["name"] == "mlops"]
mlops["command"] += ["--config", "{folder}/service.py"]
mlops["environment"] |= {environment}
"""

_BLANK = "c.JupyterHub.services, c.JupyterHub.load_roles = [], []"

DOCUMENTED = {
    "http://127.0.0.1:10380": "http://127.0.0.1:{service}",
    "postgresql://mlops@db/mlops": "{db_url}",
    "s3://team-mlops/artifacts": "{folder}/artifacts",
    "/srv/mlops": "{folder}/home",
}
"""The places that the docs' configuration names, and what stands for them here."""

_SERVER = """
import json, os, runpy, sys
with open({told!r}.replace("USER", os.environ["JUPYTERHUB_USER"]), "w") as file:
    json.dump(dict(os.environ), file)
from jupyterhub.singleuser import main
sys.exit(main())
"""


class Hub:
    """A running hub; ``url`` is its public one, without a slash at its end, ``direct_url`` the service's own."""

    def __init__(
        self,
        url: str,
        service_url: str,
        direct_url: str,
        api_url: str,
        folder: Path,
        tester: str,
        ci: str,
        bare: str,
        process: subprocess.Popen[bytes],
    ) -> None:
        self.url = url
        self.direct_url = direct_url
        self.service_url = service_url
        self.api_url = api_url
        self.api = f"{self.service_url}/api/v1/"
        self.folder = folder
        self.ci_token = ci
        self.bare_token = bare
        """Of a service that has no role."""
        self._tester = {"Authorization": f"token {tester}"}
        self._process = process

    def ask(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """The hub's own API, as one who may do much."""
        answer = requests.request(method, f"{self.api_url}/{path}", headers=self._tester, timeout=30, **keywords)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def token(self, user: str, *scopes: str) -> str:
        """A new token of ``user``; without scopes, for all that they may do."""
        body = {"scopes": list(scopes)} if scopes else {}
        return str(self.ask("POST", f"users/{user}/tokens", json=body).json()["token"])

    def revoke(self, user: str, token: str) -> None:
        for each in self.ask("GET", f"users/{user}/tokens").json()["api_tokens"]:
            if requests.get(f"{self.api_url}/user", headers=authorization(token), timeout=30).status_code == 403:
                return
            if each["session_id"] is None:
                self.ask("DELETE", f"users/{user}/tokens/{each['id']}")

    def start_server(self, user: str) -> dict[str, str]:
        """Have ``user``'s notebook server started; gives its environment, as its kernels have it."""
        self.ask("POST", f"users/{user}/server")
        until(lambda: self.ask("GET", f"users/{user}").json()["servers"][""]["ready"], f"the server of {user} starts")
        found: dict[str, str] = json.loads((self.folder / f"environment-{user}.json").read_text())
        return found

    def stop_server(self, user: str) -> None:
        self.ask("DELETE", f"users/{user}/server")
        until(lambda: not self.ask("GET", f"users/{user}").json()["servers"], f"the server of {user} stops")

    def log_in(self, user: str, start: str = "/services/mlops/") -> requests.Session:
        """A browser that opened ``start`` and filled in the hub's form."""
        browser = requests.Session()
        page = browser.get(self.url + start, timeout=30)
        assert "/hub/login" in page.url, page.url
        ended = browser.post(page.url, data=filled_in(page.text, user), timeout=30)
        assert ended.status_code == 200, (ended.url, ended.text[:2000])
        browser.headers["X-XSRFToken"] = next(
            str(cookie.value) for cookie in browser.cookies if cookie.name == "_xsrf" and "mlops" in cookie.path
        )
        return browser

    def service_process(self, but: int = 0) -> int:
        """The id of the service's process, once the hub has one (another than ``but``)."""

        def found() -> int | None:
            for child in psutil.Process(self._process.pid).children():
                if child.pid != but and {"service", "jupyter_mlops"} <= _words(child):
                    return child.pid
            return None

        return until(found, "the hub has a service")

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text(encoding="utf-8", errors="replace")


def _words(process: psutil.Process) -> set[str]:
    """Of its command; none where it has ended, which the hub has not noticed yet."""
    try:
        return set(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return set()


def do_checks(hub: Hub, home: Path) -> None:
    """A worker, until there is nothing to do. What it keeps is in ``home``."""
    token = hub.token(ADMIN, ACCESS, "custom:mlops:admin")
    environment = os.environ | {
        "MLOPS_TRACKING_URL": hub.service_url,
        "MLOPS_TRACKING_TOKEN": token,
        "MLOPS_HOME": str(home),
    }
    command = [sys.executable, "-m", "jupyter_mlops", "worker", "--once"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr


def filled_in(form: str, user: str, password: str = PASSWORD) -> dict[str, str]:
    """What the hub's login form sends."""
    xsrf = re.search(r'name="_xsrf"\s+value="([^"]+)"', form)
    assert xsrf is not None, form
    return {"username": user, "password": password, "_xsrf": xsrf[1]}


def authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}"}


def until(condition: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """What ``condition`` gives, as soon as that is something; what fails meanwhile is asked again."""
    deadline = time.monotonic() + seconds
    problem: Exception | None = None
    while time.monotonic() < deadline:
        try:
            found = condition()
        except (requests.RequestException, ValueError) as error:
            problem, found = error, None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}") from problem


@contextmanager
def running(
    folder: Path,
    db_url: str,
    *,
    environment: Mapping[str, str] | None = None,
    pythonpath: str | None = None,
    domain: str | None = None,
    first: str = "",
) -> Iterator[Hub]:
    """A hub with the service, until the block ends. ``pythonpath`` may hold another JupyterHub. With a ``domain``,
    servers and the service have subdomains of it, which browsers must take for this machine. ``first`` is the long form
    of the docs, of which then nothing may lack."""
    public, hub, proxy, service = free_ports(4)
    tester, ci, bare = (secrets.token_hex(16) for _ in range(3))
    given = {"MLOPS_HOME": str(folder / "home"), **(environment or {})}
    if pythonpath:
        given["PYTHONPATH"] = pythonpath
    for place, here in DOCUMENTED.items():
        first = first.replace(place, here.format(service=service, db_url=db_url, folder=folder))
    written = _CONFIG.format(
        public=public, hub=hub, proxy=proxy, service=service, folder=folder, tester=tester, ci=ci, bare=bare,
        subdomain_host=f"http://{domain}:{public}" if domain else "", db_url=db_url,
        proxy_command=node.command("configurable-http-proxy"), proxy_token=secrets.token_hex(16),
        password=PASSWORD, environment=given, first=first or _BLANK,
    )  # fmt: skip
    (folder / "jupyterhub_config.py").write_text(written, encoding="utf-8")
    (folder / "service.py").write_text(f"c.HubIdentity.cache_seconds = {CACHE_SECONDS}\n", encoding="utf-8")
    # The panel as it was built last, not as it was when the package was installed.
    built = folder / "share" / "labextensions" / "jupyter-mlops"
    built.parent.mkdir(parents=True)
    built.symlink_to(Path(jupyter_mlops.__file__).parent / "labextension")
    (folder / "server.py").write_text(_SERVER.format(told=str(folder / "environment-USER.json")), encoding="utf-8")
    own = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTERHUB_", "MLOPS_"))}
    if pythonpath:
        own["PYTHONPATH"] = pythonpath
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "--config", "jupyterhub_config.py"],
            cwd=folder, env=own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    public_url = f"http://{domain or '127.0.0.1'}:{public}"
    host = f"mlops--service.{domain}:{public}" if domain else f"127.0.0.1:{public}"
    started = Hub(
        public_url,
        f"http://{host}/services/mlops",
        f"http://127.0.0.1:{service}/services/mlops",
        f"http://127.0.0.1:{hub}/hub/api",
        folder,
        tester,
        ci,
        bare,
        process,
    )
    try:

        def ready() -> bool:
            assert process.poll() is None, started.log[-5000:]
            health = f"http://127.0.0.1:{public}/services/mlops/health"
            return requests.get(health, headers={"Host": host}, timeout=5, allow_redirects=False).status_code == 200

        until(ready, "the hub and its service start")
        known = {user["name"] for user in started.ask("GET", "users").json()}
        for user in {MEMBER, LEAD, OTHER, OUTSIDER, ADMIN, HUB_ADMIN} - known:
            started.ask("POST", f"users/{user}")
        yield started
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the leader of a process group as Ctrl-C does, and the group if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def replica(hub: Hub, **environment: str) -> Iterator[str]:
    """A service that the hub did not start, with what the docs say that it needs, and no more; gives its URL. What it
    says is in ``replica.log`` in the hub's folder."""
    documented = ("SERVICE_NAME", "SERVICE_PREFIX", "API_URL", "API_TOKEN")
    names = {"PATH", "MLOPS_HOME", "MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL"}
    names |= {f"JUPYTERHUB_{name}" for name in documented}
    managed = psutil.Process(hub.service_process()).environ()
    names |= {"PYTHONPATH"} & managed.keys()
    (port,) = free_ports(1)
    given = {name: managed[name] for name in names} | {"JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}"}
    with (
        (hub.folder / "replica.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "jupyter_mlops", "service"],
            cwd=hub.folder, env=given | environment, stdout=subprocess.PIPE, stderr=log, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            ready = re.fullmatch(r"jupyter-mlops is ready at (\S+)\n", process.stdout.readline())
            assert ready is not None, (hub.folder / "replica.log").read_text()
            assert f":{port}/" in ready[1]
            yield ready[1]
        finally:
            process.terminate()
            assert process.wait(12) == 0
