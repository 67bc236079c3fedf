"""A sweep from a user's server on a hub, on a cluster that a real Dask Gateway makes for who the hub says they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.notebook_files import write_notebook
from tests.ports import free_ports

_CONFIG = """
import sys
c.DaskGateway.address = "127.0.0.1:{private}"
c.Proxy.address = "127.0.0.1:{public}"
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.JupyterHubAuthenticator"
c.JupyterHubAuthenticator.jupyterhub_api_token = "{token}"
c.JupyterHubAuthenticator.jupyterhub_api_url = "{hub_api}"
c.UnsafeLocalBackend.clusters_directory = "{folder}"
c.ClusterConfig.scheduler_cmd = [sys.executable, "-m", "dask", "scheduler"]
c.ClusterConfig.worker_cmd = [sys.executable, "-m", "dask", "worker"]
"""


@pytest.fixture
def gateway(hub: realhub.Hub, tmp_path: Path) -> Iterator[str]:
    """The URL of a gateway that asks the hub who its callers are."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    private, public = free_ports(2)
    config = _CONFIG.format(private=private, public=public, folder=folder, token=hub.bare_token, hub_api=hub.api_url)
    (folder / "config.py").write_text(config)
    own = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTERHUB_", "MLOPS_"))}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask_gateway_server", "-f", str(folder / "config.py")],
            cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{public}"

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return requests.get(f"{url}/api/health", timeout=5).status_code == 200

    try:
        realhub.until(ready, "the gateway starts")
        yield url
    finally:
        realhub.end(process)


@pytest.mark.slow
def test_a_sweep_runs_on_a_cluster_of_the_gateway(
    hub: realhub.Hub, lead_server: dict[str, str], gateway: str, tmp_path: Path
) -> None:
    notebook = write_notebook(
        tmp_path / "onlead.ipynb",
        "import os",
        "import jupyter_mlops as mlops\nmlops.log_metric('double', 2 * x)",
        "print(x, os.environ.get('JUPYTERHUB_API_TOKEN'))",
        parameters="x = 0",
    )
    environment = {**lead_server, "MLOPS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_mlops", "sweep", str(notebook), "-g", "x=1,2", "-j", "1",
         "--engine", "dask", "--cluster", f"gateway:{gateway}", "--json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{(tmp_path / 'gateway' / 'log').read_text()[-5000:]}"
    told = json.loads(done.stdout)
    assert [run["params"][0]["value"] for run in told["runs"]] == [1, 2]
    lead = RemoteTracker(hub.service_url, hub.token(realhub.LEAD))
    for run in lead.runs.children(told["sweep"]["run_id"]):
        assert (run.status, run.user) == (RunStatus.FINISHED, realhub.LEAD)
        executed = b"".join(lead.artifacts.open(run.run_id, "notebook/executed.ipynb"))
        assert b"None" in executed
        assert lead_server["JUPYTERHUB_API_TOKEN"].encode() not in executed
    stranger = requests.get(f"{gateway}/api/v1/clusters/", headers=realhub.authorization("nobody"), timeout=30)
    assert stranger.status_code == 401
