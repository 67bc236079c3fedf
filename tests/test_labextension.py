"""The panel says of itself what the package says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops import _jupyter_labextension_paths
from jupyter_mlops._version import __version__

SOURCE = Path(__file__).resolve().parents[1] / "labextension"


def loaded(name: str, folder: Path = SOURCE) -> Any:
    return json.loads((folder / name).read_text())


def test_the_versions_are_one() -> None:
    # npm writes 0.1.0-dev.0 where Python writes 0.1.0.dev0.
    assert re.sub(r"-(\w+)\.(\d+)$", r".\1\2", loaded("package.json")["version"]) == __version__
    assert f"VERSION = '{__version__}'" in (SOURCE / "src" / "api" / "version.ts").read_text()


def test_jupyterlab_knows_it_by_one_name() -> None:
    (path,) = _jupyter_labextension_paths()
    assert path["dest"] == loaded("package.json")["name"]
    assert loaded("install.json")["packageName"] == "jupyter_mlops"


@pytest.mark.parametrize("folder", [SOURCE, SOURCE.parent / "tests" / "node"], ids=["panel", "tests"])
def test_a_lock_file_names_no_host(folder: Path) -> None:
    packages = loaded("package-lock.json", folder)["packages"]
    assert len(packages) > 100
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_each_settings_schema_is_of_a_plugin() -> None:
    sources = "".join(path.read_text() for path in (SOURCE / "src").rglob("*.ts*"))
    schemas = sorted((SOURCE / "schema").glob("*.json"))
    assert schemas
    for schema in schemas:
        assert f"'jupyter-mlops:{schema.stem}'" in sources, f"no plugin has the settings of {schema.name}"
