"""The hub of ``make hub``: for a look at one machine. Everybody's notebooks run as the one who typed it."""

# ruff: noqa: F821 - `c` is given by JupyterHub
import hmac
import json
import os
import sys
from pathlib import Path

from jupyterhub.auth import Authenticator

from jupyter_mlops.hub import configure

FOLDER = Path(os.environ["DEMO_HUB_FOLDER"])
PORTS = json.loads(os.environ["DEMO_HUB_PORTS"])
PASSWORDS = json.loads((FOLDER / "passwords.json").read_text())


class PasswordList(Authenticator):
    """Lets in who knows a password of the list."""

    async def authenticate(self, handler, data):
        known = PASSWORDS.get(data["username"], "")
        return data["username"] if known and hmac.compare_digest(known, data["password"]) else None


c.JupyterHub.bind_url = f"http://127.0.0.1:{PORTS['public']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{PORTS['hub']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PORTS['proxy']}"
# The proxy in pure Python: Node.js is not needed.
c.ConfigurableHTTPProxy.command = [str(Path(sys.executable).with_name("configurable-http-proxy")), "--log-level=warn"]
c.JupyterHub.db_url = f"sqlite:///{FOLDER / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(FOLDER / "jupyterhub_cookie_secret")
c.JupyterHub.log_level = "WARN"

c.JupyterHub.authenticator_class = PasswordList
c.Authenticator.allowed_users = set(PASSWORDS)
c.Authenticator.admin_users = {"admin"}

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(FOLDER / "home" / "{username}")
c.Spawner.notebook_dir = "~"
c.Spawner.default_url = "/lab"
if os.geteuid() == 0:
    c.Spawner.args = ["--allow-root"]

c.JupyterHub.load_groups = {
    "churn": {"users": ["ann", "lea"]},
    "fraud": {"users": ["ben", "lea"]},
}
c.JupyterHub.load_roles = [
    {
        "name": "mlops-lead",
        "users": ["lea"],
        "scopes": ["custom:mlops:promote!group=churn", "custom:mlops:promote!group=fraud"],
    },
    {"name": "mlops-admin", "users": ["admin"], "scopes": ["custom:mlops:admin"]},
]

configure(
    c,
    url=f"http://127.0.0.1:{PORTS['service']}",
    db_url=f"sqlite:///{FOLDER / 'mlops.db'}",
    artifacts_url=str(FOLDER / "artifacts"),
)
c.JupyterHub.services[-1]["environment"]["MLOPS_HOME"] = str(FOLDER)
