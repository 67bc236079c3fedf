"""The IPython magics ``%mlops`` and ``%%mlops run``.

``%load_ext jupyter_mlops`` imports this module and little else: what a command needs is imported when it is used.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from jupyter_mlops.core.errors import MLOpsError

HELP = """Track experiments in the notebook.

    %mlops experiment [NAME]         show or set the experiment of new runs
    %mlops log auc loss=1-acc        log variables or expressions as metrics  [--step N]
    %mlops param lr depth=3          log variables or expressions as parameters
    %mlops status                    where things are recorded, and the active run
    %mlops end                       end the active run
    %mlops runs [FILTER]             the experiment's runs, newest first  [-n N] [--all]
    %mlops compare RUN RUN...        parameters that differ and metrics, side by side
    %mlops sweep NOTEBOOK -g NAME=VALUES...
                                     run a notebook at every point of a space, or search it  [--optimize auc]
    %mlops register RUN[:PATH] NAME  make a model version of a run's model  [--alias A] [--description D]
    %mlops promote NAME VERSION      ask to point production at a version  [--alias A] [--reason R]
    %mlops help                      this text

    %%mlops run [NAME] [-p NAME VALUE]... [--experiment E]
                                     record the rest of the cell as a run; each -p sets a variable first

A run is named by its id, a unique beginning of it (4 characters or more), or its name. FILTER is MLflow's:
metrics.auc > 0.8 and params.kind = 'rf'. Tab completes commands, runs, experiments and models.
"""


@magics_class
class MLOps(Magics):  # type: ignore[misc]  # IPython has no types
    """``%mlops`` of one shell, and what it remembers of the cells that ran."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.loaded = time.time()
        self.ran: dict[int, tuple[str | None, float]] = {}
        """Execution count -> the notebook cell's id, when it is known, and when it began."""
        self.running: int | None = None
        """The execution count of the cell that runs; None when it leaves no trace in the history."""

    @no_var_expand  # type: ignore[untyped-decorator]
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_cell_magic  # type: ignore[untyped-decorator]
    def mlops(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> None:
        __tracebackhide__ = True
        word, _, rest = line.strip().partition(" ")
        try:
            if cell is not None:
                import_module("jupyter_mlops.magics.cell_run").run_cell(self, word, rest.strip(), cell)
            else:
                import_module("jupyter_mlops.magics.commands").run_command(self.shell, word, rest.strip(), local_ns)
        except MLOpsError as error:
            from IPython.core.error import UsageError

            raise UsageError(error.message) from None

    mlops.__doc__ = HELP

    def note_cell(self, info: Any) -> None:
        """Remember that a cell begins."""
        self.running = None
        if info.store_history:
            # The shell's own counter has been raised already, or not yet, depending on its version.
            self.running = len(self.shell.history_manager.input_hist_raw)
            self.ran[self.running] = (info.cell_id, time.time())


def load_ipython_extension(shell: Any) -> None:
    """Register the magics with a shell; a second time changes nothing."""
    if any(isinstance(one, MLOps) for one in shell.magics_manager.registry.values()):
        return
    magics = MLOps(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.note_cell)

    def complete(_: Any, event: Any) -> list[str]:
        found: list[str] = import_module("jupyter_mlops.magics.completion").complete(shell, event)
        return found

    for key in ("%mlops", "%%mlops"):
        shell.set_hook("complete_command", complete, str_key=key)
