"""What several messages speak of: tags, enumerations, URIs of artifacts, and experiment 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import Run, RunStatus, Tag, View
from jupyter_mlops.core.values import short
from jupyter_mlops.service.mlflow.messages import Answer, Message, invalid, named
from jupyter_mlops.tracker.embedded import EmbeddedTracker

SCHEME = "mlflow-artifacts:/"
"""Of what clients get from the service that they track to."""
VERSIONS = "registered-models"
"""Below the root of all artifacts: the files of versions. Experiments are there by their ids, which it is none of."""
LOGGED = "models"
"""Below an experiment: the files of logged models."""
MODEL_PREFIX = "m-"
"""Before the ids of logged models."""
DEFAULT_EXPERIMENT = "Default"

_DEFAULT_ID = "0"
_VIEWS: dict[int | str, View] = {
    "ACTIVE_ONLY": View.ACTIVE,
    "DELETED_ONLY": View.DELETED,
    "ALL": View.ALL,
    1: View.ACTIVE,
    2: View.DELETED,
    3: View.ALL,
}
_STATUSES: dict[int | str, RunStatus] = {
    **{status.value: status for status in RunStatus},
    1: RunStatus.RUNNING,
    2: RunStatus.SCHEDULED,
    3: RunStatus.FINISHED,
    4: RunStatus.FAILED,
    5: RunStatus.KILLED,
}


class KeyValue(Message, frozen=True, kw_only=True):
    """A tag or a parameter that is sent. An empty value may be left out."""

    key: str
    value: str = ""


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A tag or a parameter that is answered."""

    key: str
    value: str


class FileInfo(Answer, frozen=True, kw_only=True):
    path: str
    is_dir: bool
    file_size: int | None = None


def tags_of(pairs: Sequence[KeyValue]) -> dict[str, str]:
    """The tags of a message by key; of one that is given twice, the last."""
    return {pair.key: pair.value for pair in pairs}


def pairs_of(tags: Sequence[Tag]) -> tuple[Pair, ...]:
    return tuple(Pair(tag.key, tag.value) for tag in tags)


def view_of(value: int | str | None, parameter: str) -> View:
    """The view of a name or a number."""
    if value is None:
        return View.ACTIVE
    found = _VIEWS.get(_word(value))
    if found is None:
        raise invalid(value, parameter, "It is ACTIVE_ONLY, DELETED_ONLY or ALL.")
    return found


def status_of(value: int | str | None) -> RunStatus | None:
    """The status of a name or a number; None for none."""
    if value is None:
        return None
    found = _STATUSES.get(_word(value))
    if found is None:
        raise invalid(value, "status", f"It is one of {', '.join(status.value for status in RunStatus)}.")
    return found


def artifact_root(experiment_id: str) -> str:
    return f"{SCHEME}{experiment_id}"


def run_uri(run: Run) -> str:
    """Where the files of a run are, for clients."""
    return f"{SCHEME}{run.experiment_id}/{run.run_id}/artifacts"


def version_uri(name: str, version: int) -> str:
    """Where the files of a version are, for clients: its own, which outlive those of its run."""
    return f"{SCHEME}{VERSIONS}/{quote(name, safe='')}/{version}"


def experiment_of(tracker: EmbeddedTracker, experiment_id: str) -> str:
    """The id of the experiment meant: 0 is the caller's own ``Default``, made when it is first asked for."""
    if experiment_id != _DEFAULT_ID:
        return experiment_id
    return tracker.experiments.ensure(DEFAULT_EXPERIMENT, owner=tracker.principal.name).experiment_id


def experiments_of(tracker: EmbeddedTracker, experiment_ids: Sequence[str]) -> list[str]:
    """The ids of those experiments that there are, for the caller."""
    found = []
    for experiment_id in dict.fromkeys(experiment_of(tracker, each) for each in experiment_ids):
        try:
            found.append(tracker.experiments.get(experiment_id).experiment_id)
        except NotFound:
            continue
    return found


def in_workspace(principal: Principal, headers: Mapping[str, str]) -> Principal:
    """The principal as whoever MLflow's workspace header selects owns what they create: a group, or themselves."""
    workspace = headers.get("X-MLFLOW-WORKSPACE", "").strip()
    if not workspace or workspace == "default":
        return principal
    for owner in (GROUP_PREFIX + workspace, workspace):
        if principal.scope_on(owner) >= Scope.READ and (owner == principal.name or owner.startswith(GROUP_PREFIX)):
            return msgspec.structs.replace(principal, default_owner=owner)
    with named(f"Workspace {short(workspace)}"):
        raise NotFound(f"{principal.name!r} is in no group of that name")


def _word(value: int | str) -> int | str:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4 else value


def quoted(text: str) -> str:
    """A text as filters have it."""
    return "'" + text.replace("'", "''") + "'"
