"""Models as folders: writing and reading MLflow's model directory format, safe formats first.

The work is done by the flavours of ``mlflow-skinny``, imported when the first model is saved or loaded and kept from
what they like to do beside it: no telemetry, no tracking store of their own, no child process that guesses
requirements. A flavour is chosen by the class of the model without importing its framework.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import shutil
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.core.errors import InvalidValue, MissingDependency, UnsafeModel
from jupyter_mlops.core.model_safety import MLMODEL, flavors_of, is_trusted_type, unsafe_reason
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.values import short
from jupyter_mlops.core.warn import warn_caller
from jupyter_mlops.tracker.mlmodel import parse_mlmodel

PYFUNC = "pyfunc"
"""What callers name the flavour of plain Python functions; an ``MLmodel`` file says ``python_function``."""

_FLAVORS = {
    "sklearn": "sklearn",
    "torch": "pytorch",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "statsmodels": "statsmodels",
    "onnx": "onnx",
    "spacy": "spacy",
    "prophet": "prophet",
    "keras": "tensorflow",
    "tensorflow": "tensorflow",
    "mlflow": PYFUNC,
}
"""A model's top-level package -> its flavour."""

_FORMATS = {"sklearn": ("skops", "cloudpickle", "pickle"), "pytorch": ("pt2", "pickle")}
"""The serializations a caller may ask for, the safe one first."""

_LOCK = threading.RLock()


class UnsafeModelWarning(UserWarning):
    """A model is written or read in a format that can run code when loaded."""


class SavedModel(msgspec.Struct, frozen=True):
    """What a model was saved as. ``unsafe`` says why loading it can run code, None when it cannot."""

    flavor: str
    serialization: str | None
    unsafe: str | None
    signature: Json | None


class _NotThisFormat(Exception):
    """A safe format does not fit the model; the message says why."""


def flavor_of(model: Any) -> str:
    """The flavour that saves ``model``, told by the packages of its class and its bases.

    Raises
    ------
    InvalidValue
        No flavour saves such an object.
    """
    for cls in type(model).__mro__:
        flavor = _FLAVORS.get(cls.__module__.partition(".")[0])
        if flavor is not None:
            return flavor
    if isinstance(model, (str, Path, types.FunctionType, types.MethodType)):
        return PYFUNC
    raise InvalidValue(
        f"log_model: no known way to save a {type(model).__module__}.{type(model).__qualname__}; pass a scikit-learn "
        "or PyTorch model, a function of one argument, an mlflow.pyfunc.PythonModel, or name MLflow's flavor=..."
    )


def save_model(
    model: Any,
    folder: Path,
    *,
    run_id: str | None = None,
    name: str | None = None,
    flavor: str | None = None,
    serialization: str | None = None,
    signature: Any = None,
    input_example: Any = None,
    metadata: Mapping[str, Any] | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> SavedModel:
    """Write ``model`` into ``folder`` (which must not exist) as an MLflow model directory.

    Without ``serialization`` the safe format of the flavour is tried; when it does not fit, the model is pickled and
    an :class:`UnsafeModelWarning` says why. The other arguments are those of
    :func:`jupyter_mlops.recording.models.log_model`.

    Raises
    ------
    InvalidValue
        The flavour, the serialization or an argument does not fit the model.
    MissingDependency
        ``mlflow-skinny``, or what the flavour itself needs, is not installed.
    """
    flavor = flavor or flavor_of(model)
    formats = _FORMATS.get(flavor, ())
    if serialization is not None and serialization not in formats:
        raise InvalidValue(
            f"log_model: serialization={serialization!r} is not one of the flavour {flavor!r}: "
            + (", ".join(formats) or "it has one only, leave the argument out")
        )
    with _mlflow():
        module = _flavor_module(flavor)
        common = {
            "signature": signature,
            "input_example": _plain_example(input_example),
            "metadata": None if metadata is None else dict(metadata),
            "mlflow_model": import_module("mlflow.models").Model(artifact_path=name, run_id=run_id),
            # Left to itself, MLflow imports the model in a child process to see which packages it loads.
            "pip_requirements": list(pip_requirements or _requirements(module, flavor)),
        }
        used = None
        if flavor == "sklearn":
            used = _save_sklearn(module, model, folder, serialization, common)
        elif flavor == "pytorch":
            used = _save_pytorch(module, model, folder, serialization, common)
        elif flavor == PYFUNC:
            module.save_model(str(folder), python_model=model, **common)
        else:
            module.save_model(model, str(folder), **common)
    mlmodel = read_mlmodel(folder)
    return SavedModel(
        flavor=flavor,
        serialization=used,
        unsafe=unsafe_reason(mlmodel, _files(folder)),
        signature=_signature(mlmodel),
    )


def load_model(folder: Path, *, flavor: str | None = None, allow_unsafe: bool = True) -> Any:
    """The model of a model directory.

    Parameters
    ----------
    flavor
        None gives MLflow's ``PyFuncModel``, whose ``predict`` is the same for all frameworks and checks its input
        against the signature. A flavour's name (``"sklearn"``, ``"pytorch"``...) gives the object of that framework.
    allow_unsafe
        Load a format that can run code when loaded too, with an :class:`UnsafeModelWarning`.

    Raises
    ------
    UnsafeModel
        The format can run code and ``allow_unsafe`` is False, or the bytes are not what the ``MLmodel`` file says.
    InvalidValue
        The model has no such flavour.
    """
    mlmodel = read_mlmodel(folder)
    available = [PYFUNC if name == "python_function" else name for name in flavors_of(mlmodel)]
    wanted = flavor or PYFUNC
    if wanted not in available:
        others = " or ".join(f"flavor={name!r}" for name in available) or "nothing: it names no flavour"
        raise InvalidValue(
            f"this model has no {'predict function' if wanted == PYFUNC else f'flavour {wanted!r}'}; it can be loaded "
            f"with {others}"
        )
    unsafe = unsafe_reason(mlmodel, _files(folder))
    if unsafe is not None and not allow_unsafe:
        raise UnsafeModel(f"this model's format can run code when it is loaded: {unsafe}; allow_unsafe=True loads it")
    if unsafe is not None:
        warn_caller(f"loading this model can run code that came with it: {unsafe}", UnsafeModelWarning)
    with _mlflow(allow_pickle=unsafe is not None or "sklearn" in available):
        if unsafe is None and "sklearn" in available:
            _check_skops(folder / mlmodel["flavors"]["sklearn"]["pickled_model"])
        module = _flavor_module(wanted)
        options = {"suppress_warnings": True} if wanted == PYFUNC else {}
        try:
            return module.load_model(str(folder), **options)
        except ImportError as error:
            raise MissingDependency(f"this model needs what is not installed here: {error}") from error
        except Exception as error:
            raise InvalidValue(
                f"this model cannot be loaded: its files are not what its {MLMODEL} file says, or they need other "
                f"versions of packages ({type(error).__name__}: {short(str(error), 300)})"
            ) from error


def input_example(folder: Path) -> Any:
    """The example input that was saved with the model of a folder, as its framework takes it; None when none was."""
    with _mlflow():
        return import_module("mlflow.models").Model.load(str(folder)).load_input_example(str(folder))


def infer_signature(model_input: Any, model_output: Any) -> Any:
    """MLflow's ``ModelSignature`` for data like these."""
    with _mlflow():
        return import_module("mlflow.models").infer_signature(model_input, model_output)


def read_mlmodel(folder: Path) -> dict[str, Any]:
    """The content of the folder's ``MLmodel`` file."""
    try:
        content = (folder / MLMODEL).read_bytes()
    except FileNotFoundError:
        raise InvalidValue(f"{folder.name!r} is not a model directory: it holds no {MLMODEL} file") from None
    except OSError as error:
        raise InvalidValue(f"{folder.name!r}: its {MLMODEL} file cannot be read: {error.strerror}") from error
    return dict(parse_mlmodel(content, repr(folder.name)))


# --- the flavours ----------------------------------------------------------------------------------------------------


def _requirements(module: Any, flavor: str) -> list[str]:
    """The versions of the framework and of the packages that carry data to it and from it."""
    packages = {"pandas", "numpy"} | ({"skops", "cloudpickle"} if flavor == "sklearn" else set())
    pins = [f"{package}=={version(package)}" for package in sorted(packages)]
    return sorted({*module.get_default_pip_requirements(), *pins})


def _save_sklearn(module: Any, model: Any, folder: Path, serialization: str | None, common: dict[str, Any]) -> str:
    trusted: list[str] = []
    if serialization in (None, "skops"):
        try:
            trusted = _skops_types(model)
            serialization = "skops"
        except _NotThisFormat as unfit:
            if serialization == "skops":
                raise InvalidValue(f"log_model: skops cannot save this model: {unfit}") from unfit
            serialization = "cloudpickle"
            _warn_unsafe(serialization, f"skops cannot save it: {unfit}")
    module.save_model(
        model,
        str(folder),
        serialization_format=serialization,
        skops_trusted_types=trusted or None,
        **common,
    )
    return serialization


def _skops_types(model: Any) -> list[str]:
    """The types in ``model`` that skops must be told to trust, all of them trustworthy."""
    try:
        skops = _skops_io()
    except ImportError as error:
        raise MissingDependency("skops, the safe format of scikit-learn models, needs: " + _INSTALL) from error
    try:
        names: list[str] = skops.get_untrusted_types(data=skops.dumps(model))
    except Exception as error:  # the model's own classes take part in it, and can raise anything
        raise _NotThisFormat(f"{type(error).__name__}: {error}") from error
    foreign = [name for name in names if not _is_trusted(name)]
    if foreign:
        raise _NotThisFormat(f"it contains {', '.join(foreign)}, which is not part of scikit-learn")
    return names


_TORCH_ADAPTER = "sklearn.externals.array_api_compat.torch"


def _skops_io() -> Any:
    """``skops.io``. Importing it lists scikit-learn's estimators, by a walk through all of its packages that would also
    enter its adapter for PyTorch and so import PyTorch, for seconds."""
    if "torch" in sys.modules or _TORCH_ADAPTER in sys.modules:
        return import_module("skops.io")
    sys.modules[_TORCH_ADAPTER] = None  # type: ignore[assignment]
    try:
        return import_module("skops.io")
    finally:
        del sys.modules[_TORCH_ADAPTER]


def _check_skops(file: Path) -> None:
    try:
        names = _skops_io().get_untrusted_types(file=file)
    except ImportError:
        raise
    except Exception as error:
        raise UnsafeModel(
            f"{file.name} is no skops file, as the {MLMODEL} file says ({type(error).__name__})"
        ) from error
    foreign = [name for name in names if not _is_trusted(name)]
    if foreign:
        raise UnsafeModel(f"{file.name} contains {', '.join(foreign)}, which is not part of scikit-learn")


def _is_trusted(name: str) -> bool:
    """Whether ``name`` may be trusted, and really is what its package defines, not something that it imported."""
    if not is_trusted_type(name):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        defined = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    return str(getattr(defined, "__module__", "")).partition(".")[0] == name.partition(".")[0]


def _save_pytorch(module: Any, model: Any, folder: Path, serialization: str | None, common: dict[str, Any]) -> str:
    torch = import_module("torch")
    if any(tensor.device.type != "cpu" for tensor in (*model.parameters(), *model.buffers())):
        # A graph exported on a GPU could only be loaded on one.
        model = copy.deepcopy(model).cpu()
    if serialization != "pickle":
        with _evaluating(model):
            try:
                _check_exportable(torch, model, common["input_example"])
                with _hushed():
                    module.save_model(model, str(folder), serialization_format="pt2", **common)
                return "pt2"
            except Exception as error:  # an export runs the model's own code, which can raise anything
                shutil.rmtree(folder, ignore_errors=True)
                why = str(error).strip().partition("\n")[0] or type(error).__name__
                if serialization == "pt2":
                    raise InvalidValue(f"log_model: torch.export cannot save this model: {why}") from error
                _warn_unsafe("pickle", why)
    module.save_model(model, str(folder), serialization_format="pickle", **common)
    return "pickle"


def _check_exportable(torch: Any, model: Any, example: Any) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise _NotThisFormat("torch.export takes no scripted model")
    if example is None:
        raise _NotThisFormat("torch.export needs input_example, an array or tensor of two rows or more")
    if getattr(example, "ndim", 0) > 0 and len(example) == 1:
        warn_caller(
            "log_model: input_example has one row, so the saved model will take one row at a time only; an example of "
            "two rows or more makes the number of rows free",
            UserWarning,
        )


@contextmanager
def _hushed() -> Iterator[None]:
    """Without the log and the graphs that an export prints when it fails; its error says what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode (an exported graph keeps the mode it was exported in), each part put back after."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


# --- mlflow, kept quiet ----------------------------------------------------------------------------------------------

_INSTALL = "pip install 'jupyter-mlops[models]'"


@contextmanager
def _mlflow(*, allow_pickle: bool = True) -> Iterator[None]:
    """Run mlflow code: no telemetry, no chatter, its refusals as our errors, and whether it may unpickle decided here
    (its sklearn flavour wants the permission even for skops, whose content is checked before)."""
    settings = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true" if allow_pickle else "false",
    }
    with _LOCK:
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            try:
                with warnings.catch_warnings():
                    # What it imports warns in kernels, of progress bars that nobody asked for.
                    warnings.filterwarnings("ignore", message="IProgress not found")
                    exceptions = import_module("mlflow.exceptions")
            except ImportError as error:
                raise MissingDependency(f"models need mlflow-skinny and pandas: {_INSTALL}") from error
            logger = logging.getLogger("mlflow")
            level = logger.level
            logger.setLevel(logging.ERROR)
            try:
                with _warnings_of_others():
                    yield
            except exceptions.MlflowException as error:
                raise InvalidValue(f"MLflow refuses this model: {error.message}") from error
            finally:
                logger.setLevel(level)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def _warnings_of_others() -> Iterator[None]:
    """Keep back the warnings of mlflow's own lines, by where they come from: it sets filters of its own meanwhile."""
    with warnings.catch_warnings(record=True) as told:
        try:
            yield
        finally:
            others = [one for one in told if "mlflow" not in Path(one.filename).parts]
    for one in others:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _flavor_module(flavor: str) -> Any:
    try:
        module = import_module(f"mlflow.{flavor}")
    except ModuleNotFoundError as error:
        if error.name == f"mlflow.{flavor}":
            raise InvalidValue(f"MLflow has no flavour {flavor!r}") from error
        raise MissingDependency(f"MLflow's flavour {flavor!r} needs the package {error.name!r}") from error
    if not hasattr(module, "save_model") or not hasattr(module, "load_model"):
        raise InvalidValue(f"mlflow.{flavor} is not a flavour: it saves no models")
    return module


def _plain_example(example: Any) -> Any:
    """The example with tensors as arrays, which is what MLflow writes down."""
    if isinstance(example, (list, tuple)):
        return type(example)(map(_plain_example, example))
    if type(example).__module__.partition(".")[0] == "torch" and hasattr(example, "detach"):
        return example.detach().cpu().numpy()
    return example


def _warn_unsafe(serialization: str, why: str) -> None:
    warn_caller(
        f"log_model: the model is saved by {serialization}, which can run code when it is loaded ({why})",
        UnsafeModelWarning,
    )


def _signature(mlmodel: Mapping[str, Any]) -> Json | None:
    signature = mlmodel.get("signature")
    if not isinstance(signature, Mapping):
        return None
    return {key: msgspec.json.decode(text) for key, text in signature.items() if isinstance(text, str)}


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _after_fork_in_child() -> None:
    global _LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
