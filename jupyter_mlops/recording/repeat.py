"""What a recorded notebook run was run with, read back from its record: how it is run again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.parameter_types import fits
from jupyter_mlops.core.parameters import Declared, check, resolve_text, type_of
from jupyter_mlops.core.records import Json, Param, Run
from jupyter_mlops.core.redaction import REDACTED
from jupyter_mlops.core.run_files import ENVIRONMENT, LONG_PARAMETERS
from jupyter_mlops.tracker.protocol import Tracker


class _Kernel(msgspec.Struct, frozen=True):
    name: str | None = None


class _Environment(msgspec.Struct, frozen=True):
    kernel: _Kernel = _Kernel()
    cwd: str | None = None


def parameters_again(
    tracker: Tracker, run: Run, declared: Sequence[Declared] | None, given: Mapping[str, Json]
) -> dict[str, Json]:
    """The parameters of a run with those given in their place, as :func:`jupyter_mlops.core.parameters.check` takes
    them.

    Raises
    ------
    InvalidValue
        A secret, whose value was not recorded, is not given, or the notebook wrote something else in its place.
    """
    # A notebook may log further params of its own; only what its parameters cell declares can be given.
    known = None if declared is None else {parameter.name: parameter for parameter in declared}
    recorded = [param for param in run.params if (known is None or param.key in known) and param.key not in given]
    values = {param.key: _value(param, None if known is None else known[param.key]) for param in recorded}
    secrets = [param.key for param in recorded if param.redacted]
    for file in tracker.artifacts.list(run.run_id, LONG_PARAMETERS):
        path = PurePosixPath(file.path)
        # The notebook may have stored files of its own in that folder.
        is_recorded = path.suffix == ".json" and (known is None or path.stem in known) and not file.is_folder
        if is_recorded and path.stem not in given and path.stem not in values:
            text, values[path.stem] = _long_value(tracker, run, file.path)
            secrets += [path.stem] if REDACTED in text else []
    if secrets:
        raise InvalidValue(
            f"{run.name} was given secrets, whose values are not recorded; give them again: "
            + " ".join(f"-p {name} VALUE" for name in secrets)
        )
    return check(declared, {**values, **given})


def place(tracker: Tracker, run: Run) -> tuple[str | None, Path | None]:
    """The kernel's name and the working directory; None for what was not recorded, or for a folder that has gone."""
    try:
        content = b"".join(tracker.artifacts.open(run.run_id, ENVIRONMENT))
        environment = msgspec.json.decode(content, type=_Environment)
    except (NotFound, msgspec.MsgspecError):  # none, or a file of the notebook's own under that name
        environment = _Environment()
    cwd = None if environment.cwd is None else Path(environment.cwd)
    return environment.kernel.name, cwd if cwd is not None and is_folder(cwd) else None


def is_folder(path: Path) -> bool:
    """Whether there is a folder that can be reached. A record may come from another machine or user."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # another's, or no name that a folder can have
        return False


def _value(param: Param, parameter: Declared | None) -> Json:
    """The typed value, or where the record could keep the text only (of an integer beyond 64 bits), what that means."""
    if parameter is None or fits(param.value, type_of(parameter)):
        return param.value
    return resolve_text(parameter, param.text)


def _long_value(tracker: Tracker, run: Run, path: str) -> tuple[str, Json]:
    """The value that a file of a run holds, as JSON and as what that means."""
    try:
        text = b"".join(tracker.artifacts.open(run.run_id, path)).decode()
        return text, json.loads(text)
    except ValueError as error:
        raise InvalidValue(
            f"the file {path} of {run.name} holds no parameter's value any more ({error}); give that again: "
            f"-p {PurePosixPath(path).stem} VALUE"
        ) from error
