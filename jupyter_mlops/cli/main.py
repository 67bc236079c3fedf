"""``jupyter mlops``: the root command, its registry of commands, and how errors end a command.

Exit codes: 0; 1 when a run failed, a thing was not found or the store refused; 2 when what was typed cannot be
accepted; 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import click
from click.shell_completion import CompletionItem

from jupyter_mlops._version import __version__
from jupyter_mlops.cli.context import Connection
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.suggestions import did_you_mean

SCRIPT = "jupyter-mlops"
"""The script that ``jupyter mlops`` runs; Jupyter finds it on PATH by this name."""
COMPLETE_VARIABLE = "_JUPYTER_MLOPS_COMPLETE"


class Entry(NamedTuple):
    """Where a command is, and its line in the list of commands, which is shown without importing it."""

    target: str
    help: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Run notebooks": {
        "run": Entry("jupyter_mlops.cli.execute:run", "Run a notebook with parameters and record it."),
        "sweep": Entry("jupyter_mlops.cli.sweep:sweep", "Run a notebook over a space of parameters."),
        "rerun": Entry("jupyter_mlops.cli.execute:rerun", "Run a recorded notebook again, with changed parameters."),
        "reproduce": Entry("jupyter_mlops.cli.reproduce:reproduce", "Run it again and compare: does it give the same?"),
        "test": Entry("jupyter_mlops.cli.notebooktest:test", "Run a notebook as a test, with JUnit XML for CI."),
    },
    "Read back": {
        "experiments": Entry("jupyter_mlops.cli.experiments:experiments", "List, rename, delete experiments."),
        "runs": Entry("jupyter_mlops.cli.runs:runs", "List, show, compare, annotate, delete runs."),
        "models": Entry("jupyter_mlops.cli.models:models", "Register, list and fetch models; move aliases."),
        "artifacts": Entry("jupyter_mlops.cli.artifacts:artifacts", "List and fetch the files of a run."),
        "datasets": Entry("jupyter_mlops.cli.datasets:datasets", "Find what used a data set."),
        "webhooks": Entry("jupyter_mlops.cli.webhooks:webhooks", "Who is told what happens to models."),
    },
    "Promote models": {
        "promote": Entry("jupyter_mlops.cli.promotion:promote", "Ask to point an alias at a version."),
        "requests": Entry("jupyter_mlops.cli.promotion:requests", "List, review, decide requests; roll back."),
        "policy": Entry("jupyter_mlops.cli.policy:policy", "What it takes to move a protected alias."),
    },
    "Share a store": {
        "service": Entry("jupyter_mlops.cli.service:service", "Serve the store over HTTP."),
        "hub-config": Entry("jupyter_mlops.cli.hubconfig:hub_config", "Print what a JupyterHub needs for the service."),
        "worker": Entry("jupyter_mlops.cli.worker:worker", "Do the checks that requests for promotion wait for."),
        "token": Entry("jupyter_mlops.cli.tokens:token", "Tokens for a service without a hub."),
        "access-token": Entry("jupyter_mlops.cli.accesstokens:access_token", "Tokens for CI, with a hub or without."),
        "people": Entry("jupyter_mlops.cli.people:people", "Users and groups that leave or get another name."),
    },
    "Look after the store": {
        "audit": Entry("jupyter_mlops.cli.audit:audit", "Who did what; whether the record still is what it was."),
        "import": Entry("jupyter_mlops.cli.importing:import_", "Bring here what MLflow keeps."),
        "gc": Entry("jupyter_mlops.cli.database:gc", "Remove what was deleted, for good, and free its bytes."),
        "quota": Entry("jupyter_mlops.cli.quota:quota", "How much you may have, and how much there is."),
        "retention": Entry("jupyter_mlops.cli.retention:retention", "Delete the runs that are past their time."),
        "spool": Entry("jupyter_mlops.cli.spool:spool", "What was logged and is not stored yet; store it now."),
        "doctor": Entry("jupyter_mlops.cli.doctor:doctor", "What does not work here, and what to change."),
        "db": Entry("jupyter_mlops.cli.database:db", "The database: status, upgrade, dump and load."),
        "completion": Entry("jupyter_mlops.cli.completion:completion", "Print a shell's completion script."),
    },
}
COMMANDS: dict[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Failure(click.ClickException):
    """An expected error: one line on standard error, no traceback."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        from jupyter_mlops.core.formats import printable

        click.echo(f"Error: {printable(self.message, lines=True)}", file=file or sys.stderr)


class Refused(Failure):
    """What was typed cannot be accepted."""

    exit_code = 2


class Interrupted(Failure):
    exit_code = 130


@contextmanager
def failures() -> Iterator[None]:
    """Turn the errors a user can meet into an exit code and a line."""
    try:
        yield
    except InvalidValue as error:
        raise Refused(str(error)) from error
    except MLOpsError as error:
        raise Failure(str(error)) from error
    except (KeyboardInterrupt, click.Abort) as error:
        raise Interrupted("interrupted") from error
    except BrokenPipeError:
        # Whoever read our output has seen enough; click ends this quietly.
        raise
    except OSError as error:
        raise Failure(_told(error)) from error


def _told(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error.strerror or str(error)


class Root(click.Group):
    """A group that imports a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"There is no command {name!r}{did_you_mean(name, COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, entry.help) for name, entry in commands.items()], col_max=14)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]

    def invoke(self, ctx: click.Context) -> Any:
        with failures():
            return super().invoke(ctx)


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jupyter-mlops")
@click.option(
    "--url",
    metavar="URL",
    help="The store: a database URL, such as sqlite:////data/mlops.db or postgresql://user@host/mlops. "
    "Default: MLOPS_TRACKING_URL, else a SQLite file in your Jupyter data directory.",
)
@click.option(
    "--artifacts",
    metavar="URL",
    help="Where artifacts are: a folder or an fsspec URL. Default: MLOPS_ARTIFACTS_URL, else what the store recorded.",
)
@click.pass_context
def root(ctx: click.Context, url: str | None, artifacts: str | None) -> None:
    """Record notebook runs as experiments, compare them, and keep their models.

    A run is named by its name or by any unique prefix of its id (4 characters or more). Every command that prints
    something takes --json.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = Connection(url, artifacts)
    ctx.call_on_close(ctx.obj.close)


def main() -> NoReturn:
    """The script's entry point."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The caller closed it. In its place, the next file that is opened, a database perhaps, would be written to
            # by whatever prints.
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a symbol gets a question mark, not a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code: str | int | None = None
    try:
        root.main(prog_name="jupyter mlops", complete_var=COMPLETE_VARIABLE)
    except SystemExit as ended:
        code = ended.code
    except OSError as error:
        # The help, which is no command, finds no room.
        code = _shown(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Else Python tries it once more at its end, and tells that in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Whoever reads no more has seen enough.
        if not isinstance(error, BrokenPipeError):
            code = code or _shown(error)
    sys.exit(code)


def _shown(error: OSError) -> int:
    failure = Failure(_told(error))
    failure.show()
    return failure.exit_code
