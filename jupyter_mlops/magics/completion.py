"""What Tab offers behind ``%mlops``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.magics.commands import COMMANDS, SHORT_ID
from jupyter_mlops.recording.session import current

_MOST = 200
SWEEP_OPTIONS = (
    "--grid --sample --optimize --trials --sampler --seed --metric --maximize --minimize --stop --budget --jobs "
    "--engine --cluster --retries --experiment --name -p"
).split()


def complete(shell: Any, event: Any) -> list[str]:
    """The words that can stand at the cursor, for IPython's ``complete_command`` hook. Nothing when the store does not
    answer: completing must never disturb."""
    before = event.line[: len(event.line) - len(event.symbol)] if event.line.endswith(event.symbol) else event.line
    words = before.split()
    if words[0] == "%%mlops":
        candidates: Iterable[str] = ["run"] if len(words) == 1 else []
    elif len(words) == 1:
        candidates = COMMANDS
    else:
        offer = _OFFERS.get(words[1])
        try:
            candidates = offer(shell, words[2:]) if offer is not None else []
        except MLOpsError:
            candidates = []
    return [word for word in map(_quoted, candidates) if word.startswith(event.symbol)]


def _experiments(_: Any, given: list[str]) -> Iterable[str]:
    if given:
        return []
    return [experiment.name for experiment in current().reader().experiments.search(limit=_MOST).items]


def _runs(_: Any, _given: list[str]) -> Iterable[str]:
    runs = current().reader().runs.search(limit=_MOST).items
    names = [run.name for run in runs]
    # A name that several runs have names none of them.
    return [run.name if names.count(run.name) == 1 else run.run_id[:SHORT_ID] for run in runs]


def _register(shell: Any, given: list[str]) -> Iterable[str]:
    if not given:
        return _runs(shell, given)
    if given[-1] == "--alias":
        models = current().reader().models.search(limit=_MOST).items
        return dict.fromkeys(alias.alias for model in models for alias in model.aliases)
    if len(given) == 1:
        return [model.name for model in current().reader().models.search(limit=_MOST).items]
    return [option for option in ("--alias", "--description") if option not in given]


def _sweep(_: Any, _given: list[str]) -> Iterable[str]:
    return SWEEP_OPTIONS


def _filters(_: Any, _given: list[str]) -> Iterable[str]:
    runs = current().reader().runs.search(limit=_MOST).items
    keys = [f"params.{param.key}" for run in runs for param in run.params]
    keys += [f"metrics.{metric.key}" for run in runs for metric in run.metrics]
    return dict.fromkeys([*keys, "attributes.status", "attributes.run_name", "--all", "-n"])


def _numbers(shell: Any, given: list[str]) -> Iterable[str]:
    hidden = shell.user_ns_hidden
    return [
        name
        for name, value in shell.user_ns.items()
        if isinstance(value, Real) and name not in hidden and not name.startswith("_") and name not in given
    ]


def _variables(shell: Any, given: list[str]) -> Iterable[str]:
    hidden = shell.user_ns_hidden
    return [name for name in shell.user_ns if name not in hidden and not name.startswith("_") and name not in given]


_OFFERS: dict[str, Callable[[Any, list[str]], Iterable[str]]] = {
    "experiment": _experiments,
    "log": _numbers,
    "param": _variables,
    "runs": _filters,
    "compare": _runs,
    "sweep": _sweep,
    "register": _register,
}


def _quoted(word: str) -> str:
    return shlex.quote(word) if not word.startswith(("params.", "metrics.")) else word
