"""Which model formats can be loaded without running code that came with them, judged from an ``MLmodel`` file alone.

The judge knows few formats and calls everything else unsafe: a format is trusted by what is known of it, never because
nothing is known against it. What an ``MLmodel`` file says of itself is a claim of whoever wrote it, so a loader must
check the bytes as well (:mod:`jupyter_mlops.recording.model_formats` does).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

MLMODEL = "MLmodel"
"""The file that makes a folder a model directory."""

_SKLEARN_CLASS = re.compile(
    r"sklearn\.(?!datasets\b|externals\b|tests\b|conftest\b)(?:(?!tests\b|_testing\b)[A-Za-z_]\w*\.)+_?[A-Z]\w*"
)
_SKLEARN_METRIC = re.compile(r"sklearn\.metrics\.(?:[a-z_]\w*\.)*[a-z]\w*_(?:score|error|loss|deviance)")
_OTHER_TYPES = frozenset(
    {
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn.compose._column_transformer.make_column_selector",
    }
)


def is_trusted_type(name: str) -> bool:
    """Whether skops may build ``name`` (a dotted name) beyond what it trusts by itself: scikit-learn's own classes and
    scoring functions. Code that a model brings along, or picks from the rest of the environment, is never trusted."""
    return name in _OTHER_TYPES or any(p.fullmatch(name) for p in (_SKLEARN_CLASS, _SKLEARN_METRIC))


def flavors_of(mlmodel: Mapping[str, Any]) -> tuple[str, ...]:
    """The flavours an ``MLmodel`` names, sorted; empty when it names none."""
    flavors = mlmodel.get("flavors")
    return tuple(sorted(str(name) for name in flavors)) if isinstance(flavors, Mapping) else ()


def unsafe_reason(mlmodel: Mapping[str, Any], files: Collection[str]) -> str | None:
    """Why loading a model directory can run code that came with it, in a few words; None when it cannot.

    Parameters
    ----------
    mlmodel
        The content of the ``MLmodel`` file, parsed from YAML.
    files
        The paths of the directory's files, relative to it.
    """
    flavors = mlmodel.get("flavors")
    if not isinstance(flavors, Mapping) or not all(isinstance(settings, Mapping) for settings in flavors.values()):
        return "its MLmodel file describes no flavours"
    for settings in flavors.values():
        if settings.get("code"):
            return f"it brings Python files along (in {settings['code']!r})"
    native = [str(name) for name in flavors if name != "python_function"]
    if len(native) != 1:
        return "it has several native flavours" if native else "it is a Python function, kept as code"
    name = native[0]
    pyfunc = flavors.get("python_function", {"loader_module": f"mlflow.{name}"})
    if name not in _JUDGES:
        return f"the format of the flavour {name!r} is not known to be safe"
    if pyfunc.get("loader_module") != f"mlflow.{name}":
        return f"its Python function is loaded by {pyfunc.get('loader_module')!r}"
    return _JUDGES[name](flavors[name], pyfunc, files)


def _judge_sklearn(native: Mapping[str, Any], pyfunc: Mapping[str, Any], files: Collection[str]) -> str | None:
    serialization = native.get("serialization_format", "pickle")
    if serialization != "skops":
        return f"it is saved by {serialization}"
    data = str(native.get("pickled_model"))
    if data not in files:
        return f"its file {data!r} is missing"
    if pyfunc.get("data") is not None or pyfunc.get("model_path", data) != data:
        return _OTHER_FILE
    trusted = native.get("skops_trusted_types") or []
    if not isinstance(trusted, list):
        return "its MLmodel file is malformed at skops_trusted_types"
    foreign = [str(name) for name in trusted if not is_trusted_type(str(name))]
    return f"it asks to trust {', '.join(foreign)}" if foreign else None


def _judge_pytorch(native: Mapping[str, Any], pyfunc: Mapping[str, Any], files: Collection[str]) -> str | None:
    data = str(native.get("model_data"))
    if pyfunc.get("data", data) != data:
        return _OTHER_FILE
    if f"{data}/model.pth" in files or f"{data}/model.pt2" not in files:
        return "it is saved by pickle"
    return None


def _judge_onnx(native: Mapping[str, Any], pyfunc: Mapping[str, Any], files: Collection[str]) -> str | None:
    data = str(native.get("data"))
    if data not in files:
        return f"its file {data!r} is missing"
    return None if pyfunc.get("data", data) == data else _OTHER_FILE


_OTHER_FILE = "its Python function loads another file than its flavour"
_JUDGES = {"sklearn": _judge_sklearn, "pytorch": _judge_pytorch, "onnx": _judge_onnx}
