"""The hub's configuration, printed and put into ``c``: the same, and nothing of the administrator's touched."""

from __future__ import annotations

import copy
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from traitlets.config import Config

from jupyter_mlops.cli.main import root
from jupyter_mlops.hub import configure

WRITE = "custom:mlops:write"
ACCESS = "access:services!service=mlops"
OWN_ROLE = {"name": "mlops-service", "services": ["mlops"], "scopes": ["read:groups"]}


def printed(*arguments: str) -> str:
    ended = CliRunner().invoke(root, arguments)
    assert ended.exit_code == 0, ended.output
    return ended.output


def configured(c: Config | None = None, **options: Any) -> Config:
    c = Config() if c is None else c
    configure(c, **options)
    return c


def test_the_printed_block_is_what_the_shortcut_does() -> None:
    c = Config()
    text = printed("--url", "postgresql://u:it's@db/m", "--artifacts", "s3://b", "hub-config")
    exec(text, {"c": c})
    assert c == configured(db_url="postgresql://u:it's@db/m", artifacts_url="s3://b")
    (service,) = c.JupyterHub.services
    assert service["environment"]["MLOPS_TRACKING_URL"] == "postgresql://u:it's@db/m"
    url = "http://127.0.0.1:10380/services/mlops"
    assert c.Spawner.environment == {"MLOPS_TRACKING_URL": url, "MLFLOW_TRACKING_URI": url}
    assert json.loads(printed("hub-config", "--json"))["JupyterHub"]["custom_scopes"] == c.JupyterHub.custom_scopes


def test_the_block_in_the_docs_is_what_the_shortcut_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
    block, roles = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[:2]
    c = Config()
    exec(block, {"c": c})
    wanted = configured(db_url="postgresql://mlops@db/mlops", artifacts_url="s3://team-mlops/artifacts")
    wanted.JupyterHub.services[0]["environment"]["MLOPS_HOME"] = "/srv/mlops"
    assert c == wanted
    exec(roles, {"c": c})
    assert len(c.JupyterHub.load_roles) == 5


def test_the_same_as_values_of_the_chart() -> None:
    values = yaml.safe_load(printed("hub-config", "--z2jh"))
    assert values == json.loads(printed("hub-config", "--z2jh", "--json"))
    c = configured()
    assert values["hub"]["config"]["JupyterHub"]["custom_scopes"] == c.JupyterHub.custom_scopes
    assert values["hub"]["config"]["Spawner"]["server_token_scopes"] == c.Spawner.server_token_scopes
    assert values["hub"]["loadRoles"] == {
        "user": {"services": ["mlops"], "scopes": c.JupyterHub.load_roles[0]["scopes"]},
        "mlops-service": {"services": ["mlops"], "scopes": ["read:groups"]},
    }
    service = values["hub"]["services"]["mlops"]
    # It runs in pods of its own: the hub starts nothing, and makes the token itself.
    assert "command" not in service
    assert "environment" not in service
    url = service["url"] + "/services/mlops"
    assert values["singleuser"]["extraEnv"] == {"MLOPS_TRACKING_URL": url, "MLFLOW_TRACKING_URI": url}
    assert json.loads(printed("hub-config", "--no-mlflow", "--json"))["Spawner"]["environment"].keys() == {
        "MLOPS_TRACKING_URL"
    }
    assert set(configured(mlflow=False).Spawner.environment) == {"MLOPS_TRACKING_URL"}


def test_a_hub_below_a_path() -> None:
    c = Config()
    c.JupyterHub.base_url = "/jupyter/"
    assert configured(c).Spawner.environment["MLOPS_TRACKING_URL"].endswith(":10380/jupyter/services/mlops")
    c = Config()
    c.JupyterHub.bind_url = "https://0.0.0.0:443/deep/hub"
    assert (
        configured(c, name="tracking").Spawner.environment["MLOPS_TRACKING_URL"].endswith("/deep/hub/services/tracking")
    )
    assert "access:services!service=tracking" in c.Spawner.server_token_scopes


def test_nothing_the_administrator_set_is_touched(caplog: pytest.LogCaptureFixture) -> None:
    c = Config()
    c.JupyterHub.services = [{"name": "mlops", "url": "http://elsewhere"}, {"name": "cull"}]
    c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", ACCESS]}, {"name": "other", "scopes": []}]
    c.JupyterHub.custom_scopes = {WRITE: {"description": "mine"}}
    c.Spawner.server_token_scopes = ["inherit"]
    c.Spawner.environment = {"MLOPS_TRACKING_URL": "http://mine", "MLFLOW_TRACKING_URI": "http://other", "A": "1"}
    before = copy.deepcopy(c)
    with caplog.at_level(logging.WARNING, "jupyter_mlops"):
        configured(c)
    assert c.JupyterHub.services == before.JupyterHub.services
    assert c.JupyterHub.load_roles == [*before.JupyterHub.load_roles, OWN_ROLE]
    assert c.Spawner == before.Spawner
    assert c.JupyterHub.custom_scopes[WRITE] == {"description": "mine"}
    assert "custom:mlops:admin" in c.JupyterHub.custom_scopes
    login, gap, role, services, server = [record.getMessage() for record in caplog.records]
    assert "oauth_client_allowed_scopes of the service 'mlops'" in login
    assert login.endswith("they lack custom:mlops:admin")
    assert f"the subscopes of {WRITE}" in gap
    assert "the scopes of the role 'user'" in role
    assert role.endswith(f"they lack {WRITE}")
    assert services.endswith("they lack mlops")
    assert "Spawner.server_token_scopes" in server
    assert ACCESS in server


def test_what_is_missing_is_added_beside_the_administrators() -> None:
    c = Config()
    c.JupyterHub.services = [{"name": "cull"}]
    c.JupyterHub.load_roles.append({"name": "other", "scopes": []})
    c.JupyterHub.custom_scopes.update({"custom:x": {"description": "x"}})
    c.Spawner.environment = {"A": "1"}
    c.DockerSpawner.environment = {"B": "2"}
    configured(c)
    assert [service["name"] for service in c.JupyterHub.services] == ["cull", "mlops"]
    assert c.JupyterHub.load_roles.get_value([]) == [
        {"name": "other", "scopes": []},
        {"name": "user", "services": ["mlops"], "scopes": ["self", ACCESS, WRITE]},
        OWN_ROLE,
    ]
    assert {"custom:x", WRITE} < set(c.JupyterHub.custom_scopes.get_value({}))
    # The environment of a spawner's own class hides that of all spawners.
    for section, own in (("Spawner", "A"), ("DockerSpawner", "B")):
        assert set(c[section].environment) == {own, "MLOPS_TRACKING_URL", "MLFLOW_TRACKING_URI"}


def test_extra_scopes_of_users_are_not_hidden_by_a_role() -> None:
    c = Config()
    c.JupyterHub.extra_user_scopes = {"access:services!service=other"}
    configured(c)
    assert c.JupyterHub.extra_user_scopes == {"access:services!service=other", ACCESS, WRITE}
    assert c.JupyterHub.load_roles == [{"name": "user", "services": ["mlops"]}, OWN_ROLE]


def test_twice_is_once() -> None:
    c = configured()
    before = copy.deepcopy(c)
    assert configured(c) == before
