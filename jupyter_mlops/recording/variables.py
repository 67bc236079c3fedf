"""The environment variables by which a runner tells a kernel what it belongs to, and a user tells a session what to do;
``docs/settings.md`` describes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.tracker.spool import DEFAULT_MAX_BYTES

RUN_ID = "MLOPS_RUN_ID"
RUN_NAME = "MLOPS_RUN_NAME"
RUN_DIR = "MLOPS_RUN_DIR"
SPOOL_DIR = "MLOPS_SPOOL_DIR"
SPOOL_LIMIT = "MLOPS_SPOOL_LIMIT"
EXPERIMENT = "MLOPS_EXPERIMENT"
STRICT = "MLOPS_STRICT"


def experiment_of(notebook: Path | str) -> str:
    """The name of the experiment of a notebook's runs, where none was asked for: ``MLOPS_EXPERIMENT``, else the stem of
    the notebook's name; ``InvalidValue`` when an experiment cannot be called so."""
    name = os.environ.get(EXPERIMENT)
    if name:
        return name
    try:
        return values.experiment_name(Path(notebook).stem)
    except InvalidValue as error:
        raise InvalidValue(
            f"{error.message}; without another, it is called as the notebook is: name one, or rename the notebook"
        ) from None


def spool_limit(environ: Mapping[str, str]) -> int:
    """The bytes that may wait to be stored; ``InvalidValue`` when the variable holds no number of them."""
    text = environ.get(SPOOL_LIMIT)
    if not text:
        return DEFAULT_MAX_BYTES
    if not text.isdecimal() or int(text) < 1 << 20:
        raise InvalidValue(f"the environment variable {SPOOL_LIMIT}: {text!r} is no number of bytes from 1048576 on")
    return int(text)
