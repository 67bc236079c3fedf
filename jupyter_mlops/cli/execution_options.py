"""The options that ``run``, ``rerun`` and ``sweep`` share: how a notebook is executed, and where it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from jupyter_mlops.cli.options import ExperimentName, assignments
from jupyter_mlops.recording.variables import EXPERIMENT, experiment_of

notebook_path = click.Path(exists=True, dir_okay=False, path_type=Path)


class How(msgspec.Struct, frozen=True, kw_only=True):
    """What the shared options say."""

    kernel: str | None = None
    cwd: Path | None = None
    """Absolute."""
    execution_timeout: float | None = None
    experiment: str | None = None
    name: str | None = None
    tags: dict[str, str] = {}

    def experiment_for(self, notebook: Path) -> str:
        """The experiment's name: the one given, else ``MLOPS_EXPERIMENT``, else the notebook's stem."""
        return self.experiment or experiment_of(notebook)


def execution_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the shared options; the command gets them as ``how``."""

    @click.option("--kernel", "-k", metavar="NAME", help="The kernel to use instead of the notebook's own.")
    @click.option(
        "--cwd",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Run in this folder instead of the notebook's own.",
    )
    @click.option(
        "--execution-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="The longest that a cell may take.",
    )
    @click.option(
        "--experiment",
        "-e",
        type=ExperimentName(),
        metavar="NAME",
        help=f"Where it is recorded. Default: {EXPERIMENT}, else the notebook's name.",
    )
    @click.option("--name", "-n", metavar="NAME", help="What to call it; a name is made up otherwise.")
    @click.option("--tag", "-t", multiple=True, metavar="KEY=VALUE", help="A tag of the record; repeatable.")
    @wraps(function)
    def command(
        *args: Any,
        kernel: str | None,
        cwd: Path | None,
        execution_timeout: float | None,
        experiment: str | None,
        name: str | None,
        tag: tuple[str, ...],
        **others: Any,
    ) -> None:
        how = How(
            kernel=kernel,
            cwd=None if cwd is None else cwd.absolute(),
            execution_timeout=execution_timeout,
            experiment=experiment,
            name=name,
            tags=assignments(tag, "the tag"),
        )
        function(*args, how=how, **others)

    return command
