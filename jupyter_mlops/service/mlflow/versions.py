"""Versions of registered models."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from urllib.parse import unquote, urlsplit

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.filters import Entity
from jupyter_mlops.core.formats import now
from jupyter_mlops.core.model_safety import MLMODEL
from jupyter_mlops.core.records import LARGEST_PAGE, ModelVersion
from jupyter_mlops.core.values import short
from jupyter_mlops.service.loads import note_load
from jupyter_mlops.service.mlflow import logged, stages
from jupyter_mlops.service.mlflow.messages import Answer, Message, limited, named
from jupyter_mlops.service.mlflow.prompts import without_prompts
from jupyter_mlops.service.mlflow.words import MODEL_PREFIX, KeyValue, Pair, tags_of, version_uri
from jupyter_mlops.tracker.embedded import EmbeddedTracker

CLIENT = "mlflow"
"""What loads a version, of a client of MLflow's."""
_SAME_LOAD_MS = 10_000
_MOST = 200_000
_MOST_STEPS = 10
"""Copies of copies that are followed."""
_RUN_SOURCE = re.compile(r"(?:runs:/|mlflow-artifacts:/+[^/]+/)([^/]+)(?:/artifacts(?=/|$))?/?(.*)")
_LOGGED_SOURCE = re.compile(r"(?:models:/|mlflow-artifacts:/+[^/]+/models/)(m-[0-9a-f]{32})(?:/artifacts)?/?")
_VERSION_SOURCE = re.compile(r"models:/([^/@]+)/([0-9]{1,10})")
_ALIAS_SOURCE = re.compile(r"models:/([^/@]+)@([^/]+)")


class VersionAnswer(Answer, frozen=True, kw_only=True):
    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str
    current_stage: str
    description: str
    source: str
    run_id: str = ""
    status: str
    tags: tuple[Pair, ...] = ()
    aliases: tuple[str, ...] = ()
    model_id: str | None = None


class Found(Answer, frozen=True, kw_only=True):
    model_version: VersionAnswer


class Listed(Answer, frozen=True, kw_only=True):
    model_versions: tuple[VersionAnswer, ...] = ()
    next_page_token: str | None = None


class Where(Answer, frozen=True, kw_only=True):
    artifact_uri: str


class Create(Message, frozen=True, kw_only=True):
    name: str
    source: str
    run_id: str = ""
    tags: tuple[KeyValue, ...] = ()
    description: str = ""
    model_id: str = ""


class OfVersion(Message, frozen=True, kw_only=True):
    name: str
    version: str


class Update(OfVersion, frozen=True, kw_only=True):
    description: str | None = None


class Transition(OfVersion, frozen=True, kw_only=True):
    stage: str
    archive_existing_versions: bool = False


class SetTag(OfVersion, frozen=True, kw_only=True):
    key: str
    value: str = ""


class DeleteTag(OfVersion, frozen=True, kw_only=True):
    key: str


class Search(Message, frozen=True, kw_only=True):
    filter: str = ""
    max_results: int = _MOST
    order_by: tuple[str, ...] = ()
    page_token: str | None = None


def create(tracker: EmbeddedTracker, asked: Create) -> Found:
    _require_source(asked.source)
    tracker.models.get(asked.name)
    more = {"description": asked.description, "tags": tags_of(asked.tags)}
    alias = _ALIAS_SOURCE.fullmatch(asked.source)
    source = asked.source
    if alias is not None:
        meant = tracker.models.resolve(alias[1], f"@{alias[2]}")
        source = f"models:/{meant.model}/{meant.version}"
    run_id, model_id, path = asked.run_id or None, None, ""
    of_model = _LOGGED_SOURCE.fullmatch(source)
    of_run = _RUN_SOURCE.fullmatch(source)
    where = None
    if of_model is not None or asked.model_id:
        given = asked.model_id or (of_model[1] if of_model else "")
        if of_model is not None and of_model[1] != given:
            raise _invalid_source(asked.source, "The model_id request parameter must identify what has the source.")
        model = logged.model_of(tracker, given)
        model_id, where, path = model.model_id, model.run_id, model.path
        run_id = run_id or (None if model.own_run else model.run_id)
    elif of_run is not None:
        where, path = of_run[1], unquote(of_run[2]) if source.startswith("mlflow") else of_run[2]
        if run_id is None and source.startswith("runs:"):
            run_id = where
    if where is not None and _has_model(tracker, where, path):
        made = tracker.models.register(asked.name, where, path, **more)  # type: ignore[arg-type]
    else:
        made = tracker.models.refer(asked.name, source, run_id=run_id, logged_model_id=model_id, **more)  # type: ignore[arg-type]
    return Found(model_version=answer(made))


def get(tracker: EmbeddedTracker, asked: OfVersion) -> Found:
    return Found(model_version=answer(tracker.models.version(asked.name, number_of(asked.version))))


def update(tracker: EmbeddedTracker, asked: Update) -> Found:
    number = number_of(asked.version)
    if asked.description is None:
        return Found(model_version=answer(tracker.models.version(asked.name, number)))
    return Found(model_version=answer(tracker.models.update_version(asked.name, number, description=asked.description)))


def transition(tracker: EmbeddedTracker, asked: Transition) -> Found:
    stage = stages.stage_named(asked.stage)
    archive = asked.archive_existing_versions
    if archive and stage not in stages.ALIASES:
        raise InvalidValue(
            f"Model version transition cannot archive existing model versions because {asked.stage!r} is not an Active "
            f"stage. Valid stages are {', '.join(stages.ALIASES)}"
        )
    moved = stages.transition(tracker, asked.name, number_of(asked.version), stage, archive)
    return Found(model_version=answer(moved))


def delete(tracker: EmbeddedTracker, asked: OfVersion) -> None:
    tracker.models.delete_version(asked.name, number_of(asked.version))


def search(tracker: EmbeddedTracker, asked: Search) -> Listed:
    limited(asked.max_results, "max_results", _MOST)
    # MLflow's own order; and what decides ties.
    order = (*(asked.order_by or ("last_updated_timestamp DESC",)), "name ASC", "version_number DESC")
    page = tracker.models.versions(
        without_prompts(asked.filter, Entity.VERSION),
        order,
        limit=min(asked.max_results, LARGEST_PAGE),
        page_token=asked.page_token or None,
    )
    return Listed(model_versions=tuple(map(answer, page.items)), next_page_token=page.next_page_token)


def download_uri(tracker: EmbeddedTracker, asked: OfVersion) -> Where:
    version = tracker.models.version(asked.name, number_of(asked.version))
    _note_load(tracker, version)
    for _ in range(_MOST_STEPS):
        if version.digest:
            return Where(artifact_uri=version_uri(version.model, version.version))
        other = _VERSION_SOURCE.fullmatch(version.source)
        if other is None:
            break
        version = tracker.models.version(other[1], int(other[2]))
    return Where(artifact_uri=version.source)


def _note_load(tracker: EmbeddedTracker, version: ModelVersion) -> None:
    """A client asks where a version's files are when it loads them; just before, by which version an alias points at,
    if it loads by one: then that was noted."""
    since = now() - _SAME_LOAD_MS
    for known in tracker.models.consumers(version.model):
        is_this = (known.user, known.version) == (tracker.principal.name, version.version)
        if is_this and known.reference and known.purpose == CLIENT and known.last >= since:
            return
    note_load(tracker.models, version.model, version.version, purpose=CLIENT)


def set_tag(tracker: EmbeddedTracker, asked: SetTag) -> None:
    tracker.models.set_tags(asked.name, {asked.key: asked.value}, version=number_of(asked.version))


def delete_tag(tracker: EmbeddedTracker, asked: DeleteTag) -> None:
    version = tracker.models.version(asked.name, number_of(asked.version))
    with named(f"No tag with key {asked.key!r} of version {version.version} of {version.model!r};"):
        tracker.models.delete_tag(version.model, asked.key, version=version.version)


# --- shared ----------------------------------------------------------------------------------------------------------


def number_of(version: str) -> int:
    """The number of a version, which is text to MLflow."""
    if not re.fullmatch(r"-?[0-9]{1,18}", version):
        raise InvalidValue(f"Parameter 'version' must be an integer, got '{version[:100]}'.")
    return int(version)


def named_version(asked: OfVersion) -> AbstractContextManager[None]:
    """Say of a version that is not there what MLflow says."""
    return named(f"Model Version (name={asked.name[:250]}, version={asked.version[:20]})")


def answer(version: ModelVersion) -> VersionAnswer:
    model_id = None if version.logged_model_id is None else MODEL_PREFIX + version.logged_model_id
    of_logged = model_id is not None and not _VERSION_SOURCE.fullmatch(version.source)
    return VersionAnswer(
        name=version.model,
        version=str(version.version),
        creation_timestamp=version.created,
        last_updated_timestamp=version.updated,
        user_id=version.user,
        current_stage=stages.stage_of(version),
        description=version.description,
        source=f"models:/{model_id}" if of_logged else version.source,
        run_id=version.run_id or "",
        status="READY",
        tags=tuple(Pair(tag.key, tag.value) for tag in version.tags if tag.key != stages.STAGE_TAG),
        aliases=version.aliases,
        model_id=model_id,
    )


def _has_model(tracker: EmbeddedTracker, run_id: str, path: str) -> bool:
    try:
        tracker.artifacts.stat(run_id, f"{path}/{MLMODEL}" if path else MLMODEL)
    except (NotFound, InvalidValue):
        return False
    return True


def _require_source(source: str) -> None:
    """Refuse what is a file of whoever reads it, or could be taken for another."""
    try:
        scheme = urlsplit(source).scheme
    except ValueError as error:
        raise _invalid_source(source, f"It is no URL: {error}") from error
    if scheme in ("", "file"):
        raise _invalid_source(
            source,
            "To use a local path as a model version source, it would have to be one of this service: log the model",
        )
    decoded = source
    for _ in range(_MOST_STEPS):
        decoded, before = unquote(decoded), decoded
        if decoded == before:
            break
    if "\0" in decoded or ".." in re.split(r"[/\\?#]", decoded) or "." in re.split(r"[/\\]", decoded):
        raise _invalid_source(
            source,
            "If supplying a source as an http, https, ftp, object store or mlflow-artifacts URI, write no '..' in it",
        )


def _invalid_source(source: str, why: str) -> InvalidValue:
    return InvalidValue(f"Invalid model version source: {short(source, 200)}. {why}")
