"""What a hub's configuration says about the service: as values, as text, and put into a ``c`` of traitlets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import yaml
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from jupyter_mlops.core.access import Scope
from jupyter_mlops.hub.scopes import SCOPE_PREFIX, scope_name
from jupyter_mlops.tracker.location import ARTIFACTS_URL, MLFLOW_URI, TRACKING_URL

logger = logging.getLogger("jupyter_mlops.hub")

NAME = "mlops"
URL = "http://127.0.0.1:10380"
CLUSTER_URL = "http://mlops:10380"
POD_LABELS = {"app": "jupyter-mlops"}
"""Of the service's pods, for the network policy of users' pods."""

GROUPS_SCOPE = "read:groups"
"""With which the service asks who belongs to a group."""
_LOGIN_SCOPES = "oauth_client_allowed_scopes"
_LINE = 88
_SCOPES = {
    Scope.READ: "See the experiments and models that are yours, your groups', or shared with you",
    Scope.WRITE: "Record runs, create experiments and models, for yourself and your groups",
    Scope.PROMOTE: "Decide which version of a model an alias points at",
    Scope.ADMIN: "See and change everything in the store",
}


def hub_config(
    *,
    name: str = NAME,
    url: str = URL,
    tracking_url: str | None = None,
    hub_base_url: str = "/",
    environment: Mapping[str, str] | None = None,
    managed: bool = True,
    mlflow: bool = True,
) -> dict[str, dict[str, Any]]:
    """The settings of a hub with the service, by the class and name that ``jupyterhub_config.py`` gives them.

    Parameters
    ----------
    name
        Of the service; its pages are at ``/services/NAME/``.
    url
        Where the service listens, as the hub's proxy reaches it.
    tracking_url
        Where notebook servers reach the service; when None, at ``url``, which is right while they are on the same
        machine.
    hub_base_url
        ``JupyterHub.base_url``.
    environment
        Of the service's process: where its database is and its files are.
    managed
        Whether the hub starts the service.
    mlflow
        Whether MLflow in kernels tracks to the service, too; with what, the server extension says
        (:mod:`jupyter_mlops.server.mlflowtoken`).
    """
    tracking_url = tracking_url or url.rstrip("/") + _prefix(hub_base_url, name).rstrip("/")
    access = f"access:services!service={name}"
    service: dict[str, Any] = {"name": name, "url": url}
    if managed:
        service["command"] = [sys.executable, "-m", "jupyter_mlops", "service"]
        if environment:
            service["environment"] = dict(environment)
    service |= {
        "display": True,
        "oauth_no_confirm": True,
        _LOGIN_SCOPES: [scope_name(Scope.ADMIN)],
    }
    custom: dict[str, Any] = {}
    for scope, description in _SCOPES.items():
        custom[scope_name(scope)] = {"description": description}
        if scope > Scope.READ:
            custom[scope_name(scope)]["subscopes"] = [scope_name(Scope(scope - 1))]
    server_scopes = ["users:activity!user", "access:servers!server", access, scope_name(Scope.WRITE)]
    return {
        "JupyterHub": {
            "custom_scopes": custom,
            "services": [service],
            # A hub tells nobody what its roles give: the service learns it by having this one itself.
            "load_roles": [
                {"name": "user", "services": [name], "scopes": ["self", access, scope_name(Scope.WRITE)]},
                {"name": f"{name}-service", "services": [name], "scopes": [GROUPS_SCOPE]},
            ],
        },
        "Spawner": {
            "server_token_scopes": server_scopes,
            "environment": {TRACKING_URL: tracking_url, **({MLFLOW_URI: tracking_url} if mlflow else {})},
        },
    }


def configure(
    c: Config,
    *,
    name: str = NAME,
    url: str = URL,
    tracking_url: str | None = None,
    db_url: str | None = None,
    artifacts_url: str | None = None,
    mlflow: bool = True,
) -> None:
    """Have a hub run the service: ``from jupyter_mlops.hub import configure; configure(c)`` at the end of
    ``jupyterhub_config.py``.

    What is set there already is left as it is; where that lacks something for the service, a warning says what.

    Parameters
    ----------
    c
        The configuration of ``jupyterhub_config.py``.
    name, url, tracking_url, mlflow
        See :func:`hub_config`.
    db_url, artifacts_url
        The service's database and where its files go; when None, an SQLite file and a folder in the Jupyter data
        directory of whoever runs the hub.
    """
    environment = {TRACKING_URL: db_url, ARTIFACTS_URL: artifacts_url}
    wanted = hub_config(
        name=name,
        url=url,
        tracking_url=tracking_url,
        hub_base_url=_hub_base_url(c),
        environment={key: value for key, value in environment.items() if value is not None},
        mlflow=mlflow,
    )
    hub = wanted["JupyterHub"]
    _add_service(c, hub["services"][0])
    _add_missing(c.JupyterHub, "custom_scopes", hub["custom_scopes"])
    _warn_of_gaps(c, hub["custom_scopes"])
    users, own = hub["load_roles"]
    _add_user_scopes(c, users)
    if _named(c, "load_roles", own["name"]) is None:
        _append(c, "load_roles", own)
    # A setting of a spawner's own class hides that of all spawners.
    for section in ["Spawner", *(key for key in c if key.endswith("Spawner") and key != "Spawner")]:
        if section == "Spawner" or "environment" in c[section]:
            _add_missing(c[section], "environment", wanted["Spawner"]["environment"])
        if "server_token_scopes" in c[section]:
            given = c[section].server_token_scopes
            _warn_of_lacking(f"{section}.server_token_scopes", given, wanted["Spawner"]["server_token_scopes"])
        elif section == "Spawner":
            c.Spawner.server_token_scopes = wanted["Spawner"]["server_token_scopes"]


def python_text(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings as lines of ``jupyterhub_config.py``."""
    lines = [
        f"c.{section}.{name} = {_literal(value)}"
        for section, values in settings.items()
        for name, value in values.items()
    ]
    return "\n".join(lines) + "\n"


def z2jh_values(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings as values of the Zero to JupyterHub chart, for a service that runs in pods of its own. The chart
    makes the service's token and keeps it in the secret of the hub."""
    hub, spawner = settings["JupyterHub"], settings["Spawner"]
    services = {each["name"]: {key: each[key] for key in each if key != "name"} for each in hub["services"]}
    ports = [{"port": urlsplit(each["url"]).port or 80, "protocol": "TCP"} for each in services.values()]
    return {
        "hub": {
            "config": {
                "JupyterHub": {"custom_scopes": hub["custom_scopes"]},
                "Spawner": {"server_token_scopes": spawner["server_token_scopes"]},
            },
            "services": services,
            "loadRoles": {
                role["name"]: {key: role[key] for key in role if key != "name"} for role in hub["load_roles"]
            },
        },
        "singleuser": {
            "extraEnv": spawner["environment"],
            "networkPolicy": {
                "egress": [{"to": [{"podSelector": {"matchLabels": dict(POD_LABELS)}}], "ports": ports}],
            },
        },
    }


def yaml_text(values: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(values), sort_keys=False, width=100))


def _prefix(hub_base_url: str, name: str) -> str:
    return f"/{hub_base_url.strip('/')}/services/{name}/".replace("//", "/")


def _hub_base_url(c: Config) -> str:
    if "base_url" in c.JupyterHub:
        return str(c.JupyterHub.base_url)
    return urlsplit(str(c.JupyterHub.bind_url)).path or "/" if "bind_url" in c.JupyterHub else "/"


def _add_service(c: Config, entry: dict[str, Any]) -> None:
    found = _named(c, "services", entry["name"])
    if found is None:
        _append(c, "services", entry)
        return
    allowed = found.get(_LOGIN_SCOPES, [])
    if not any(scope == "inherit" or scope.startswith(SCOPE_PREFIX) for scope in allowed):
        where = f"{_LOGIN_SCOPES} of the service {entry['name']!r} in JupyterHub.services"
        _warn_of_lacking(where, allowed, entry[_LOGIN_SCOPES])


def _warn_of_gaps(c: Config, wanted: Mapping[str, Any]) -> None:
    """Say which scope does not include the one below it, though a login asks only for the highest."""
    given = _entries(c.JupyterHub["custom_scopes"])
    for scope, entry in wanted.items():
        where = f"the subscopes of {scope} in JupyterHub.custom_scopes"
        _warn_of_lacking(where, given.get(scope, entry).get("subscopes", []), entry.get("subscopes", []))


def _add_missing(section: Config, setting: str, wanted: Mapping[str, Any]) -> None:
    if setting not in section:
        section[setting] = dict(wanted)
        return
    known = _entries(section[setting])
    section[setting].update({key: value for key, value in wanted.items() if key not in known})


def _add_user_scopes(c: Config, role: dict[str, Any]) -> None:
    """Give all users what ``role`` has beside their own ``self``."""
    found = _named(c, "load_roles", role["name"])
    if "extra_user_scopes" in c.JupyterHub and "scopes" not in (found or {}):
        # JupyterHub 6 adds these to the role of all users, unless its scopes are defined.
        c.JupyterHub.extra_user_scopes.update(scope for scope in role["scopes"] if scope != "self")
        role = {key: value for key, value in role.items() if key != "scopes"}
    if found is None:
        _append(c, "load_roles", role)
        return
    where = f"the role {role['name']!r} in JupyterHub.load_roles"
    _warn_of_lacking(f"the scopes of {where}", found.get("scopes", ["self"]), role.get("scopes", []))
    _warn_of_lacking(f"the services of {where}", found.get("services", []), role["services"])


def _warn_of_lacking(where: str, given: Any, wanted: Sequence[str]) -> None:
    if isinstance(given, list | tuple | set) and (lacking := [each for each in wanted if each not in given]):
        logger.warning("jupyter-mlops left %s as you set them; they lack %s", where, ", ".join(lacking))


def _named(c: Config, setting: str, name: str) -> dict[str, Any] | None:
    """The entry of that name in a list of the hub's, when there is one."""
    entries = _items(c.JupyterHub[setting]) if setting in c.JupyterHub else []
    return next((each for each in entries if each.get("name") == name), None)


def _append(c: Config, setting: str, entry: dict[str, Any]) -> None:
    if setting in c.JupyterHub:
        c.JupyterHub[setting].append(entry)
    else:
        c.JupyterHub[setting] = [entry]


def _entries(setting: Any) -> dict[str, Any]:
    """The entries of a dict that may still wait for its default."""
    return dict(setting.to_dict().get("update", {}) if isinstance(setting, LazyConfigValue) else setting)


def _items(setting: Any) -> list[dict[str, Any]]:
    """The entries of a list that may still wait for its default."""
    if isinstance(setting, LazyConfigValue):
        waiting = setting.to_dict()
        return [*waiting.get("prepend", []), *waiting.get("extend", [])]
    return list(setting)


def _literal(value: Any, indent: str = "") -> str:
    """A value as Python writes it, one entry a line where it is long."""
    flat = _flat(value)
    if len(indent) + len(flat) <= _LINE or not isinstance(value, dict | list):
        return flat
    inner = indent + "    "
    if isinstance(value, dict):
        entries = [f"{_flat(key)}: {_literal(item, inner)}" for key, item in value.items()]
    else:
        entries = [_literal(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + "".join(f"{inner}{entry},\n" for entry in entries) + indent + closing


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    # A string of JSON means the same in Python.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
