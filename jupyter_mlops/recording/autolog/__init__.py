"""Autologging: fits of scikit-learn and training steps of PyTorch are logged without a line of code for it.

It works by hooks in the two frameworks, set when they are imported and taken out again by ``autolog(disable=True)``.
What goes wrong in a hook is warned of once and never disturbs the training.
"""

from __future__ import annotations

import threading
from importlib import import_module

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.values import short
from jupyter_mlops.recording.autolog.harmless import AutologWarning
from jupyter_mlops.recording.autolog.imports import when_imported
from jupyter_mlops.recording.autolog.options import Hooks, Options

_FRAMEWORKS = {"sklearn.base": "sklearn", "torch": "torch"}
"""The module whose import makes a framework ready for its hooks -> our module with the hooks."""

_lock = threading.RLock()
_installed: dict[str, Hooks] = {}
_cancel_waiting = None


@checked_call
def autolog(
    *,
    log_models: bool = True,
    log_input_examples: bool = False,
    log_model_signatures: bool = True,
    log_datasets: bool = False,
    log_every_n_step: int = 10,
    disable: bool = False,
    silent: bool = False,
) -> None:
    """Log scikit-learn fits and PyTorch training steps from now on; calling it again changes the options.

    The frameworks may be imported before or after. What is logged, and what is not, is told in ``docs/models.md``.

    Parameters
    ----------
    log_models
        Log a fitted scikit-learn model with the run. (Models of PyTorch are logged by ``log_model``.)
    log_input_examples
        Save the first rows of the training data with the model, too; otherwise only the signature made from them.
    log_model_signatures
        Save what the model takes and gives with it. An input example has its signature with it always.
    log_datasets
        MLflow's, and refused: ``log_input`` says which data sets a run uses.
    log_every_n_step
        Log the loss of a PyTorch optimizer's first step and of every ``n``-th after it.
    disable
        Take all hooks out and log nothing more.
    silent
        Do not warn of what could not be logged.
    """
    if log_every_n_step < 1:
        raise InvalidValue(f"autolog: log_every_n_step is a whole number from 1, not {short(log_every_n_step)}")
    if log_datasets:
        raise InvalidValue("autolog: log_datasets=True: no data sets are logged; say which a run uses by log_input()")
    global _cancel_waiting  # noqa: PLW0603 - there is one of each framework in a process, and so of the hooks
    with _lock:
        if _cancel_waiting is not None:
            _cancel_waiting()
            _cancel_waiting = None
        for hooks in _installed.values():
            hooks.remove()
        _installed.clear()
        if disable:
            return
        options = Options(log_models, log_input_examples, log_model_signatures, log_every_n_step, silent)

        def install(module: str) -> None:
            name = _FRAMEWORKS[module]
            with _lock:
                _installed[name] = import_module(f"jupyter_mlops.recording.autolog.{name}").install(options)

        _cancel_waiting = when_imported(_FRAMEWORKS, install)


__all__ = ["AutologWarning", "autolog"]
