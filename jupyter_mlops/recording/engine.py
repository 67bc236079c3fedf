"""The engine behind ``papermill --engine mlops``.

Papermill imports this module whenever it is itself imported, from within its own import: so nothing of papermill is
imported here at the top.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any


class MLOpsEngine:
    """A papermill engine that records the run it executes.

    The run goes to the experiment that ``MLOPS_EXPERIMENT`` names, else to one named like the notebook, of the tracker
    at ``MLOPS_TRACKING_URL``. All of papermill's options mean what they mean with papermill's own engine; only secrets
    are left out of the output. Parameters of a wrong type are refused before a kernel starts.
    """

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        *,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        input_path: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        stdout_file: Any = None,
        stderr_file: Any = None,
        **options: Any,
    ) -> Any:
        """Execute ``nb`` and return it; errors that are not a cell's are raised as papermill's own engine does."""
        from papermill.log import logger
        from papermill.utils import merge_kwargs, remove_args

        from jupyter_mlops.core.ids import new_id
        from jupyter_mlops.core.parameters import check
        from jupyter_mlops.core.records import NewRun, RunKind, RunStatus
        from jupyter_mlops.recording.fastimport import uncollected
        from jupyter_mlops.recording.notebook import start_kernel
        from jupyter_mlops.recording.recorder import RunFolder
        from jupyter_mlops.recording.variables import experiment_of
        from jupyter_mlops.tracker.location import default_url

        source = _source(nb, input_path)
        given = dict(nb.metadata.get("papermill", {}).get("parameters", {}))
        check(source.declared, given, allow_unknown=True)
        run_id, cwd = new_id(), Path.cwd()
        folder = RunFolder(run_id)
        folder.create()
        with contextlib.ExitStack() as unfinished:
            unfinished.callback(folder.remove)
            kernel = start_kernel(
                kernel_name, run_id=run_id, folder=folder, cwd=cwd, tracking_url=default_url(), artifacts_url=None
            )
            unfinished.callback(kernel.end)
            unfinished.callback(kernel.kill)
            # While the kernel starts: this imports the database layer.
            with uncollected():
                from jupyter_mlops.recording.execution import Execution
                from jupyter_mlops.tracker.connect import connect

                tracker = connect()
            with tracker:
                experiment = tracker.experiments.ensure(experiment_of(source.path))
                new = NewRun(
                    run_id=run_id, experiment_id=experiment.experiment_id, kind=RunKind.NOTEBOOK, source=source.path
                )
                execution = Execution(
                    tracker, new, source=source, parameters=given, kernel=kernel, folder=folder, cwd=cwd
                )
                unfinished.pop_all()
                logger.info(f"Recording run {execution.name} ({run_id}) in experiment {experiment.name}")
                run = execution.run(
                    nb,
                    any_error_fails=True,
                    state_options={
                        "output_path": output_path,
                        "progress_bar": progress_bar,
                        "log_output": log_output,
                        "autosave_cell_every": autosave_cell_every,
                    },
                    # As papermill's own engine passes them on.
                    client_options=merge_kwargs(
                        remove_args(["timeout", "startup_timeout"], **options),
                        timeout=execution_timeout if execution_timeout else options.get("timeout"),
                        startup_timeout=start_timeout,
                        kernel_name=kernel_name,
                        log=logger,
                        log_output=log_output,
                        stdout_file=stdout_file,
                        stderr_file=stderr_file,
                    ),
                )
        if run.status is RunStatus.KILLED:
            raise KeyboardInterrupt
        if execution.failure is not None:
            raise execution.failure
        return execution.executed

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        from papermill.utils import nb_kernel_name

        return str(nb_kernel_name(nb, name))

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        from papermill.utils import nb_language

        return str(nb_language(nb, language))


def _source(nb: Any, input_path: Any) -> Any:
    """The source notebook: the file papermill read, or where it was none of this machine, what papermill made of it."""
    import nbformat
    from papermill.iorw import papermill_io

    from jupyter_mlops.recording.source import INJECTED_TAG, parse_source

    local_handler = papermill_io.get_handler("local")
    if isinstance(input_path, str) and papermill_io.get_handler(input_path) is local_handler:
        # Papermill resolves names against the folder it was started in, though it works in --cwd by now.
        base = local_handler.cwd(None)
        local_handler.cwd(base)
        path = Path(base or ".", input_path).resolve()
        return parse_source(path.read_bytes(), str(path))
    plain = nbformat.from_dict(nb)
    plain.cells = [cell for cell in nb.cells if INJECTED_TAG not in cell.metadata.get("tags", ())]
    name = input_path if isinstance(input_path, str) and input_path != "-" else "notebook.ipynb"
    return parse_source(nbformat.writes(plain).encode(), name)
