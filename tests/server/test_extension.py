"""The extension as it is installed: enabled, each setting documented, each route with a scope."""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from traitlets import TraitError
from traitlets.config import Config

import jupyter_mlops
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.server.desk import Desk
from jupyter_mlops.server.documents import _checked
from jupyter_mlops.server.extension import MLOpsExtension, forwarding
from jupyter_mlops.server.forward import Answer, Answers, Upstream
from jupyter_mlops.server.handlers import routes
from jupyter_mlops.server.identity import JupyterApiHandler, JupyterIdentity
from jupyter_mlops.server.operations import ENDPOINTS
from jupyter_mlops.server.store import LazyTracker
from jupyter_mlops.service.handlers import ApiHandler, Service
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.location import TRACKING_TOKEN_FILE, token_for

ROOT = Path(__file__).parents[2]


def test_an_installation_enables_the_extension() -> None:
    if sys.version_info >= (3, 11):
        import tomllib

        shared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        place = "share/jupyter/labextensions/jupyter-mlops"
        assert shared["shared-data"] == {
            "etc/jupyter/jupyter_server_config.d": "etc/jupyter/jupyter_server_config.d",
            "jupyter_mlops/labextension": place,
            "labextension/install.json": f"{place}/install.json",
        }
    config = json.loads((ROOT / "etc/jupyter/jupyter_server_config.d/jupyter_mlops.json").read_text())
    assert config["ServerApp"]["jpserver_extensions"] == {jupyter_mlops.__name__: True}
    assert [point["app"] for point in jupyter_mlops._jupyter_server_extension_points()] == [MLOpsExtension]


def test_it_is_no_page_that_a_server_opens_at() -> None:
    # A hub sends people to the page of any extension that has one.
    assert MLOpsExtension.extension_url == "/"


def test_each_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "server.md").read_text()
    documented = dict(re.findall(r"^\| `c\.MLOpsExtension\.(\w+)` \|.*\| `?([\w]+)[^|]*\|$", page, re.MULTILINE))
    traits = MLOpsExtension.class_own_traits(config=True)
    assert documented.keys() == traits.keys()
    assert all(trait.help for trait in traits.values())
    for name in ("activity_limit", "end_runs_with_server", "stop_seconds"):
        assert str(traits[name].default_value).removesuffix(".0") == documented[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [("concurrent_runs", 0), ("activity_limit", -1), ("end_runs_with_server", "no"), ("stop_seconds", -1)],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: object) -> None:
    with pytest.raises(TraitError):
        MLOpsExtension(config=Config({"MLOpsExtension": {name: value}}))


def test_each_route_has_the_servers_checks_and_a_scope() -> None:
    with ThreadPoolExecutor(1) as executor:
        tracker = cast(EmbeddedTracker, LazyTracker("sqlite:///nowhere.db", executor))
        service = Service(tracker, JupyterIdentity(), executor)
        found = [*routes(service, cast(Desk, None), "/mlops/"), *forwarding(service, cast(Upstream, None))]
    assert len(found) >= len({endpoint.path for endpoint in ENDPOINTS}) + 3
    for pattern, handler, arguments in found:
        assert issubclass(handler, ApiHandler), pattern
        assert issubclass(handler, JupyterApiHandler), pattern
        for method, endpoint in arguments.get("endpoints", {}).items():
            # What is planned is only looked at; a grid does not fit into a query.
            changes = method == "POST" and endpoint.name != "plan"
            assert endpoint.scope >= (Scope.WRITE if changes else Scope.READ), pattern


def test_what_is_kept_for_later_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_mlops.server.forward.MOST_KEPT", 25)
    kept = Answers()
    for number in range(3):
        kept.keep((number,), Answer(0.0, [], b"x" * 10))
    assert kept.find((0,)) is None
    assert kept.find((1,)) is not None
    kept.keep((2,), Answer(1.0, [], b"y" * 5))
    kept.drop((1,))
    kept.keep((3,), Answer(0.0, [], b"x" * 20))
    assert kept.find((2,)) == Answer(1.0, [], b"y" * 5)


def test_a_token_in_a_file_is_for_the_named_service_and_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    monkeypatch.delenv("MLOPS_TRACKING_TOKEN", raising=False)
    monkeypatch.setenv("MLOPS_TRACKING_URL", "https://hub.example.org/services/mlops")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "from the hub")
    monkeypatch.setenv(TRACKING_TOKEN_FILE, str(file))
    assert token_for("https://hub.example.org/services/mlops") is None
    file.write_text("first\n")
    assert token_for("https://hub.example.org/services/mlops") == "first"
    file.write_text("second")
    assert token_for("https://hub.example.org/services/mlops") == "second"
    assert token_for("https://elsewhere.example.org/services/mlops") is None


@pytest.mark.parametrize("path", ["a/../b.ipynb", "./a.ipynb", "a//b.ipynb", "a\\b.ipynb", "a\0.ipynb", "a.py", ""])
def test_paths_that_name_no_notebook_are_refused(path: str) -> None:
    with pytest.raises(InvalidValue):
        _checked(path)
