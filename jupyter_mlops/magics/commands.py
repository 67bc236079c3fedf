"""The commands of ``%mlops``. Each takes the shell and the rest of the line, and prints or displays its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from jupyter_mlops.core import values
from jupyter_mlops.core.compare import compare, differing_params, metric_keys
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.formats import duration, now, number, numbers, printable, relative
from jupyter_mlops.core.reasons import brief
from jupyter_mlops.core.records import Batch, Metric, Param, Run
from jupyter_mlops.core.redaction import redact_url
from jupyter_mlops.core.suggestions import did_you_mean
from jupyter_mlops.magics.html import Row, Table
from jupyter_mlops.magics.words import Arguments, expressions
from jupyter_mlops.recording.entities import ActiveRun
from jupyter_mlops.recording.session import Session, current

Namespaces = tuple[dict[str, Any], Mapping[str, Any]]
"""The globals and the locals that expressions see."""

MOST_SHOWN = 10
"""How many of a sweep's runs are shown, the best."""
SHORT_ID = 12
"""Digits of an id that are shown; the first 12 are its creation, to the millisecond."""


def run_command(shell: Any, word: str, rest: str, local_ns: Mapping[str, Any] | None) -> None:
    """Do what ``%mlops WORD REST`` says; its mistakes are errors of :mod:`jupyter_mlops.core.errors` and
    ``UsageError``."""
    command = COMMANDS.get(word or "help")
    if command is None:
        raise InvalidValue(
            f"%mlops has no command {word!r}{did_you_mean(word, COMMANDS)} (%mlops help lists the commands)"
        )
    command(rest, (shell.user_ns, local_ns if local_ns is not None else shell.user_ns))


def _experiment(rest: str, _: Namespaces) -> None:
    arguments = Arguments("experiment")
    arguments.add_argument("name", nargs="?")
    name = arguments.parse(rest).name
    session = current()
    if name is not None:
        session.set_experiment(name)
    _say(f"experiment {session.experiment_name}")


def _log(rest: str, namespaces: Namespaces) -> None:
    rest, _option, step = f" {rest} ".partition(" --step ")
    at = next(iter(_evaluated("log --step", step, namespaces).values())) if step.strip() else None
    points = tuple(_metric(name, value, at) for name, value in _evaluated("log", rest.strip(), namespaces).items())
    run = current().logged_to()
    current().log(run.run_id, Batch(metrics=points))
    # With a step it is one of many calls in a loop, which would flood the output.
    if at is None:
        _say(f"{_label(run)}: {', '.join(f'{point.key} = {number(point.value)}' for point in points)}")


def _param(rest: str, namespaces: Namespaces) -> None:
    values_by_name = _evaluated("param", rest, namespaces)
    params: tuple[Param, ...] = tuple(values.param(name, value) for name, value in values_by_name.items())
    run = current().logged_to()
    current().log(run.run_id, Batch(params=params))
    _say(f"{_label(run)}: {', '.join(param.key for param in params)} logged")


def _status(rest: str, _: Namespaces) -> None:
    Arguments("status").parse(rest)
    session = current()
    _say(f"tracker     {redact_url(session.tracking_url)}")
    active = session.active
    if active is None:
        _say(f"experiment  {session.experiment_name}")
        _say(f"owner       {_owner(session)}")
        _say("run         none is active; the first value that is logged begins one")
        return
    run = active.record
    experiment = session.reader().experiments.get(run.experiment_id)
    _say(f"experiment  {experiment.name}")
    _say(f"owner       {experiment.owner}")
    _say(f"run         {run.name} ({run.run_id[:SHORT_ID]}), {run.status.value.lower()} for {_took(run)}")
    if run.hidden_state:
        _say(f"            {run.hidden_state}")
    logged = [f"{param.key} = {param.text}" for param in run.params]
    logged += [f"{metric.key} = {number(metric.value)}" for metric in run.metrics]
    for line in logged:
        _say(f"            {line}")


def _owner(session: Session) -> str:
    try:
        return session.experiment_owner()
    except MLOpsError as error:
        # What is logged is kept in the spool also while the tracker cannot be reached.
        return f"not known now: {error.message}"


def _end(rest: str, _: Namespaces) -> None:
    Arguments("end").parse(rest)
    session = current()
    run = session.active
    if run is None:
        _say("no run is active")
    elif not run.owned:
        _say("the run of this notebook ends with the notebook")
    else:
        session.end_run(run)
        _say(f"run {run.name} has ended")


def _runs(rest: str, _: Namespaces) -> None:
    limit, everywhere, filter_ = _runs_options(rest)
    session = current()
    tracker = session.reader()
    experiments = () if everywhere else (session.experiment().experiment_id,)
    page = tracker.runs.search(experiments, filter_, limit=limit)
    where = "any experiment" if everywhere else f"experiment {session.experiment_name}"
    if not page.items:
        _say(f"no runs in {where}" + (f" where {filter_}" if filter_ else ""))
        return
    remarks = []
    if page.next_page_token:
        remarks.append(f"There are more: these are the newest {limit}.")
    _display(_runs_table(page.items, remarks))


def _runs_options(rest: str) -> tuple[int, bool, str]:
    """The options before the filter, which is left as it is typed."""
    limit, everywhere = 20, False
    while rest.startswith("-"):
        word, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if word == "--all":
            everywhere = True
        elif word in ("-n", "--limit"):
            text, _, rest = rest.partition(" ")
            rest = rest.lstrip()
            if not text.isdecimal() or not 1 <= int(text) <= 1000:
                raise InvalidValue(f"runs: {word} takes a number from 1 to 1000, not {text!r}")
            limit = int(text)
        else:
            raise InvalidValue(f"runs: there is no option {word}; --all and -n are")
    return limit, everywhere, rest


def _runs_table(runs: Sequence[Run], remarks: list[str]) -> Table:
    params, metrics = differing_params(runs), metric_keys(runs)
    columns = [numbers([_latest(run).get(key) for run in runs]) for key in metrics]
    at = now()
    rows = [
        Row(
            (
                _marked_name(run),
                run.status.value.lower(),
                relative(run.start_time, reference=at),
                _took(run),
                *(_texts(run).get(key, "") for key in params),
                *(column[place] for column in columns),
                run.run_id[:SHORT_ID],
            )
        )
        for place, run in enumerate(runs)
    ]
    remarks = [*remarks, *_remarks(runs)]
    first_metric = 4 + len(params)
    return Table(
        ["name", "status", "started", "took", *params, *metrics, "id"],
        rows,
        numeric=[3, *range(first_metric, first_metric + len(metrics))],
        remarks=remarks,
    )


def _compare(rest: str, _: Namespaces) -> None:
    arguments = Arguments("compare")
    arguments.add_argument("runs", nargs="+", metavar="RUN")
    names = arguments.parse(rest).runs
    if len(names) < 2:
        raise InvalidValue("compare: give two runs or more")
    tracker = current().reader()
    _display(_comparison([tracker.runs.resolve(name) for name in names]))


def _comparison(runs: Sequence[Run]) -> Table:
    """Runs side by side, a column each."""
    rows = [
        Row(("status", *(run.status.value.lower() for run in runs))),
        Row(("took", *(_took(run) for run in runs))),
        Row(("id", *(run.run_id[:SHORT_ID] for run in runs))),
    ]
    found = compare(runs)
    different = [row for row in found.of("params") if row.differs]
    same = len(found.of("params")) - len(different)
    if different:
        rows.append(Row(("parameters that differ",), is_title=True))
        rows += [Row((row.name, *(text or "" for text in row.texts))) for row in different]
    metrics = found.of("metrics")
    if metrics:
        rows.append(Row(("metrics",), is_title=True))
        rows += [Row((row.name, *numbers(row.values))) for row in metrics]
    remarks = [f"{same} parameter{' is' if same == 1 else 's are'} the same."] if same else []
    return Table(
        ["", *(_marked_name(run) for run in runs)],
        rows,
        numeric=range(1, len(runs) + 1),
        remarks=[*remarks, *_remarks(runs)],
    )


def _sweep(rest: str, _: Namespaces) -> None:
    from jupyter_mlops.execution.plan import ranked
    from jupyter_mlops.magics.sweeping import sweep

    going = sweep(rest)
    metric = going.plan.metric
    children = going.children()
    best_first = ranked(children, going.plan) or children
    remarks = [f"No run logged the metric {metric!r}."] if metric is not None and not going.standing.best else []
    more = len(best_first) - MOST_SHOWN
    if more > 0:
        remarks.append(f"And {more} more: %mlops runs")
    _display(_runs_table(best_first[:MOST_SHOWN], remarks))


def _register(rest: str, _: Namespaces) -> None:
    arguments = Arguments("register")
    arguments.add_argument("model", metavar="RUN[:PATH]")
    arguments.add_argument("name", metavar="NAME")
    arguments.add_argument("--alias")
    arguments.add_argument("--description", default="")
    given = arguments.parse(rest)
    from jupyter_mlops.recording.models import register_model

    run, _colon, path = given.model.partition(":")
    uri = f"runs:/{run}/{path or 'model'}"
    version = register_model(uri, given.name, alias=given.alias, description=given.description)
    alias = f"@{given.alias}" if given.alias else f"/{version.version}"
    address = f"models:/{version.model}{alias}"
    _say(f"version {version.version} of {version.model}; load it with mlops.load_model({address!r})")
    if not version.safe:
        _say("its format can run code when it is loaded")


def _promote(rest: str, _: Namespaces) -> None:
    arguments = Arguments("promote")
    arguments.add_argument("name", metavar="NAME")
    arguments.add_argument("version", metavar="VERSION")
    arguments.add_argument("--alias", default="production")
    arguments.add_argument("--reason", default="")
    given = arguments.parse(rest)
    from jupyter_mlops.core.promotion import PromotionState
    from jupyter_mlops.recording.promoting import promote

    version = int(given.version) if given.version.isascii() and given.version.isdigit() else given.version
    made = promote(given.name, version, alias=given.alias, reason=given.reason)
    if made.state is PromotionState.PROMOTED:
        _say(f"{made.model}@{made.alias} is version {made.version} now")
        return
    _say(f"request {made.request_id[:SHORT_ID]} for {made.model}@{made.alias} is {made.state.value}")
    for line in made.missing:
        _say(f"missing: {line}")
    if made.page is not None:
        _say(made.page)


def _help(_rest: str, _: Namespaces) -> None:
    from jupyter_mlops.magics import HELP

    _say(HELP, lines=True)


COMMANDS: dict[str, Callable[[str, Namespaces], None]] = {
    "experiment": _experiment,
    "log": _log,
    "param": _param,
    "status": _status,
    "end": _end,
    "runs": _runs,
    "compare": _compare,
    "sweep": _sweep,
    "register": _register,
    "promote": _promote,
    "help": _help,
}


# --- values ----------------------------------------------------------------------------------------------------------


def _evaluated(command: str, rest: str, namespaces: Namespaces) -> dict[str, Any]:
    pairs = expressions(rest)
    if not pairs:
        raise InvalidValue(f"{command}: give variables, or NAME=EXPRESSION")
    found: dict[str, Any] = {}
    for name, expression in pairs:
        if name in found:
            raise InvalidValue(f"{command}: {name} is given twice")
        try:
            found[name] = eval(expression, *namespaces)
        except Exception as error:  # noqa: BLE001 -- it is the user's expression, and can raise anything
            raise InvalidValue(f"{command}: {expression}: {type(error).__name__}: {error}") from None
    return found


def _metric(name: str, value: Any, step: Any) -> Metric:
    try:
        return values.metric(name, value, step=0 if step is None else step)
    except InvalidValue as error:
        hint = "" if isinstance(value, Real) else "; %mlops param logs what is no number"
        raise InvalidValue(f"log: {error.message}{hint}") from None


# --- showing ---------------------------------------------------------------------------------------------------------


def _label(run: ActiveRun) -> str:
    # The name of the notebook's run would have to be read from the database.
    return f"run {run.name}" if run.owned else "the run of this notebook"


def _marked_name(run: Run) -> str:
    return f"{run.name} ⚠" if run.hidden_state else run.name


def _remarks(runs: Sequence[Run]) -> list[str]:
    return [f"⚠ {run.name} {run.hidden_state}" for run in runs if run.hidden_state] + [
        f"{run.name}: {brief(run.reason)}" for run in runs if run.reason is not None
    ]


def _took(run: Run) -> str:
    return duration((run.end_time if run.end_time is not None else now()) - run.start_time)


def _texts(run: Run) -> dict[str, str]:
    return {param.key: param.text for param in run.params}


def _latest(run: Run) -> dict[str, float]:
    return {metric.key: metric.value for metric in run.metrics}


def _say(text: str, *, lines: bool = False) -> None:
    print(printable(text, lines=lines))


def _display(shown: Table) -> None:
    from IPython.display import display

    display(shown)
