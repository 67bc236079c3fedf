"""``%%mlops run``: the rest of the cell is executed as ever, and recorded as a run."""

from __future__ import annotations

import ast
import json
import re
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec
from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.reasons import error_kind
from jupyter_mlops.core.records import Batch, Json, Param, Reason, ReasonKind, RunKind, RunStatus
from jupyter_mlops.core.redaction import find_secrets
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.core.run_files import EXECUTED, SOURCE
from jupyter_mlops.magics.outputs import Outputs, keeping
from jupyter_mlops.magics.words import Arguments, parameters, split
from jupyter_mlops.recording.cells import ExecutedCell, Hidden, as_notebook, describe, find_hidden
from jupyter_mlops.recording.entities import ActiveRun
from jupyter_mlops.recording.names import names_in
from jupyter_mlops.recording.notebook_file import find_notebook, read_notebook
from jupyter_mlops.recording.redactor import Redactor
from jupyter_mlops.recording.session import Session, current

if TYPE_CHECKING:
    from jupyter_mlops.magics import MLOps

_SHELL_NAMES = re.compile(r"_+(?:i*\d*)|_dh|In|Out|get_ipython|exit|quit|open|display|__\w+__")


def run_cell(magics: MLOps, word: str, rest: str, body: str) -> None:
    """Execute ``body`` in the shell and record it, its parameters set as variables before.

    An error in it is the cell's error as ever; the run is then FAILED, or KILLED when interrupted.
    """
    __tracebackhide__ = True
    if word != "run":
        raise InvalidValue(f"%%mlops {word}: the cell magic is %%mlops run [NAME] [-p NAME VALUE]...")
    given, words = parameters(split(rest))
    arguments = Arguments("run")
    arguments.add_argument("name", nargs="?")
    arguments.add_argument("--experiment")
    options = arguments.parse_args(words)
    params = tuple(values.param(name, value) for name, value in given.items())
    shell = magics.shell
    count = magics.running if magics.running is not None else shell.displayhook.prompt_count
    program = _Program(shell, f"# %%mlops run {rest}", body, count)
    session = current()
    if options.experiment is not None:
        session.set_experiment(options.experiment)
    recorded, earlier = _cells(magics, program.python, count)
    path = find_notebook(shell)
    hidden = _hidden(shell, recorded, earlier, path, given)
    run = session.start_run(
        name=options.name,
        nested=True,
        kind=RunKind.CELL,
        source=str(path) if path is not None else "",
        hidden_state=describe(hidden),
    )
    recording = _Recording(session, run, Redactor(given), recorded, earlier, hidden)
    recording.begin(params)
    shell.user_ns.update(given)
    outputs = Outputs()
    try:
        with keeping(shell) as outputs:
            program.execute()
    except BaseException as error:
        status, reason = recording.failure(error, outputs)
        recording.end(outputs, status, reason)
        raise
    recording.end(outputs, RunStatus.FINISHED, None)


class _Recording:
    """What is written about the run of one cell."""

    def __init__(
        self,
        session: Session,
        run: ActiveRun,
        redactor: Redactor,
        recorded: ExecutedCell,
        earlier: Sequence[ExecutedCell],
        hidden: Sequence[Hidden],
    ) -> None:
        self.session = session
        self.run = run
        self.redactor = redactor
        self.recorded = msgspec.structs.replace(recorded, source=redactor.text(recorded.source))
        self.earlier = earlier
        self.hidden = hidden

    def begin(self, params: tuple[Param, ...]) -> None:
        if params:
            self.session.log(self.run.run_id, Batch(params=params))
        for cell in (*self.earlier, self.recorded):
            for finding in find_secrets(cell.source):
                warnings.warn(
                    f"In [{cell.count}], line {finding.line}: this looks like a secret ({finding.what}); the cell is "
                    "recorded as it is, so better pass it by -p or an environment variable",
                    stacklevel=2,
                )
        self._put(SOURCE, [])

    def failure(self, error: BaseException, outputs: Outputs) -> tuple[RunStatus, Reason]:
        """How the run ends, and why; the error becomes an output."""
        trace = "".join(traceback.format_exception(type(error), error, _below_here(error)))
        outputs.error(error, trace.rstrip())
        if isinstance(error, KeyboardInterrupt):
            return RunStatus.KILLED, Reason(kind=ReasonKind.CANCELLED, message="interrupted", cell=len(self.earlier))
        message = reason_text(traceback.format_exception_only(type(error), error)[-1].strip())
        return RunStatus.FAILED, Reason(
            kind=error_kind(type(error).__name__),
            message=self.redactor.text(message),
            cell=len(self.earlier),
            source=self.recorded.source,
            traceback=self.redactor.text(reason_text(trace)),
        )

    def end(self, outputs: Outputs, status: RunStatus, reason: Reason | None) -> None:
        for output in outputs.items:
            self.redactor.output(output)
        self._put(EXECUTED, outputs.items)
        self.session.end_run(self.run, status, reason)
        hidden = describe(self.hidden)
        print(f"run {printable(self.run.name)}: {status.value.lower()}" + (f"; {hidden}" if hidden else ""))

    def _put(self, path: str, outputs: Sequence[Json]) -> None:
        cells: list[tuple[ExecutedCell, Sequence[Json]]] = [(cell, []) for cell in self.earlier]
        notebook = as_notebook([*cells, (self.recorded, outputs)], self.hidden)
        content = json.dumps(notebook, ensure_ascii=False, indent=1, default=repr).encode("utf-8", "replace")
        self.session.delivery.put_file(self.run.run_id, path, lambda place: place.write_bytes(content))


class _Program:
    """A cell's code, compiled: the value of a last expression is displayed.

    ``heading`` is a comment in the place of the magic's line, so that tracebacks have the cell's own line numbers.

    Raises ``UsageError`` for code that does not compile, and for top-level ``await``, which a magic cannot wait for.
    """

    def __init__(self, shell: Any, heading: str, body: str, count: int) -> None:
        self._shell = shell
        try:
            self.python: str = shell.transform_cell(f"{heading}\n{body}")
            name = shell.compile.cache(self.python, count)
            tree = shell.transform_ast(shell.compile.ast_parse(self.python, filename=name))
            quiet = not tree.body or DisplayHook.semicolon_at_end_of_expression(self.python)
            shown = [tree.body.pop()] if not quiet and isinstance(tree.body[-1], ast.Expr) else []
            self._parts: list[CodeType] = [shell.compile(ast.Module(tree.body, type_ignores=[]), name, "exec")]
            if shown:
                self._parts.append(shell.compile(ast.Interactive(shown), name, "single"))
        except SyntaxError as error:
            hint = "; await in another cell, before it" if "await" in str(error.msg) else ""
            raise UsageError(f"%%mlops run: line {error.lineno}: {error.msg}{hint}") from None

    def execute(self) -> None:
        __tracebackhide__ = True
        for part in self._parts:
            exec(part, self._shell.user_global_ns, self._shell.user_ns)


def _cells(magics: MLOps, python: str, now: int) -> tuple[ExecutedCell, list[ExecutedCell]]:
    """The cell that is executing, with ``python`` for its code, and those that ran before it."""
    history = magics.shell.history_manager
    executed = [
        ExecutedCell(
            count=count,
            source=raw,
            code=parsed,
            cell_id=magics.ran[count][0] if count in magics.ran else None,
            before=magics.ran[count][1] if count in magics.ran else magics.loaded,
        )
        for count, (raw, parsed) in enumerate(zip(history.input_hist_raw, history.input_hist_parsed, strict=False))
        if raw.strip()
    ]
    running = [cell for cell in executed if cell.count == now and magics.running is not None]
    recorded = running[0] if running else ExecutedCell(count=now, source=python)
    return msgspec.structs.replace(recorded, code=python), [cell for cell in executed if cell.count < now]


def _hidden(
    shell: Any, recorded: ExecutedCell, earlier: Sequence[ExecutedCell], path: Path | None, given: dict[str, Json]
) -> tuple[Hidden, ...]:
    read = names_in(recorded.code or "").read
    # What is not there at all will be the cell's own NameError.
    known = {name for name in read if name not in shell.user_ns or _SHELL_NAMES.fullmatch(name)} | set(given)
    return find_hidden(recorded, earlier, read_notebook(path) if path is not None else None, known=known)


def _below_here(error: BaseException) -> Any:
    """The error's traceback from the cell's first frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, _OUTPUTS_FILE):
        trace = trace.tb_next
    return trace


_OUTPUTS_FILE = Outputs.stream.__code__.co_filename
