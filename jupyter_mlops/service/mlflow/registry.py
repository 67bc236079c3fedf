"""Registered models, and their aliases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from jupyter_mlops.core.errors import AlreadyExists
from jupyter_mlops.core.filters import Entity
from jupyter_mlops.core.records import DEFAULT_PAGE, LARGEST_PAGE, ModelVersion, RegisteredModel
from jupyter_mlops.service.loads import note_load
from jupyter_mlops.service.mlflow import stages
from jupyter_mlops.service.mlflow.messages import Answer, Message, limited, named
from jupyter_mlops.service.mlflow.prompts import refuse_prompt, without_prompts
from jupyter_mlops.service.mlflow.versions import CLIENT, VersionAnswer, number_of
from jupyter_mlops.service.mlflow.versions import Found as FoundVersion
from jupyter_mlops.service.mlflow.versions import answer as version_answer
from jupyter_mlops.service.mlflow.words import KeyValue, Pair, pairs_of, quoted, tags_of
from jupyter_mlops.tracker.embedded import EmbeddedTracker


class AliasAnswer(Answer, frozen=True, kw_only=True):
    alias: str
    version: str


class ModelAnswer(Answer, frozen=True, kw_only=True):
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str = ""
    description: str = ""
    latest_versions: tuple[VersionAnswer, ...] = ()
    tags: tuple[Pair, ...] = ()
    aliases: tuple[AliasAnswer, ...] = ()


class Found(Answer, frozen=True, kw_only=True):
    registered_model: ModelAnswer


class Listed(Answer, frozen=True, kw_only=True):
    registered_models: tuple[ModelAnswer, ...] = ()
    next_page_token: str | None = None


class Latest(Answer, frozen=True, kw_only=True):
    model_versions: tuple[VersionAnswer, ...] = ()


class Create(Message, frozen=True, kw_only=True):
    name: str
    tags: tuple[KeyValue, ...] = ()
    description: str = ""


class ByName(Message, frozen=True, kw_only=True):
    name: str


class Rename(ByName, frozen=True, kw_only=True):
    new_name: str


class Update(ByName, frozen=True, kw_only=True):
    description: str = ""


class Search(Message, frozen=True, kw_only=True):
    filter: str = ""
    max_results: int = 100
    order_by: tuple[str, ...] = ()
    page_token: str | None = None


class GetLatest(ByName, frozen=True, kw_only=True):
    stages: tuple[str, ...] = ()


class SetTag(ByName, frozen=True, kw_only=True):
    key: str
    value: str = ""


class DeleteTag(ByName, frozen=True, kw_only=True):
    key: str


class OfAlias(ByName, frozen=True, kw_only=True):
    alias: str


class SetAlias(OfAlias, frozen=True, kw_only=True):
    version: str


def create(tracker: EmbeddedTracker, asked: Create) -> Found:
    refuse_prompt(tags_of(asked.tags))
    with _taken(asked.name):
        made = tracker.models.create(asked.name, description=asked.description, tags=tags_of(asked.tags))
    return Found(registered_model=_answer(made, ()))


def get(tracker: EmbeddedTracker, asked: ByName) -> Found:
    return _found(tracker, tracker.models.get(asked.name))


def search(tracker: EmbeddedTracker, asked: Search) -> Listed:
    limited(asked.max_results, "max_results", DEFAULT_PAGE)
    page = tracker.models.search(
        without_prompts(asked.filter, Entity.MODEL),
        asked.order_by,
        limit=asked.max_results,
        page_token=asked.page_token or None,
    )
    latest = _latest(tracker, [model.name for model in page.items])
    answers = tuple(_answer(model, latest.get(model.name, ())) for model in page.items)
    return Listed(registered_models=answers, next_page_token=page.next_page_token)


def rename(tracker: EmbeddedTracker, asked: Rename) -> Found:
    with _taken(asked.new_name):
        return _found(tracker, tracker.models.update(asked.name, new_name=asked.new_name))


def update(tracker: EmbeddedTracker, asked: Update) -> Found:
    return _found(tracker, tracker.models.update(asked.name, description=asked.description))


def delete(tracker: EmbeddedTracker, asked: ByName) -> None:
    tracker.models.delete(asked.name)


def get_latest(tracker: EmbeddedTracker, asked: GetLatest) -> Latest:
    tracker.models.get(asked.name)
    wanted = {stages.stage_named(stage) for stage in asked.stages}
    found = _latest(tracker, [asked.name]).get(asked.name, ())
    return Latest(
        model_versions=tuple(version_answer(each) for each in found if not wanted or stages.stage_of(each) in wanted)
    )


def set_tag(tracker: EmbeddedTracker, asked: SetTag) -> None:
    tracker.models.set_tags(asked.name, {asked.key: asked.value})


def delete_tag(tracker: EmbeddedTracker, asked: DeleteTag) -> None:
    name = tracker.models.get(asked.name).name
    with named(f"No tag with key {asked.key!r} of registered model {name!r};"):
        tracker.models.delete_tag(name, asked.key)


def set_alias(tracker: EmbeddedTracker, asked: SetAlias) -> None:
    number = number_of(asked.version)
    tracker.models.version(asked.name, number)
    tracker.models.set_alias(asked.name, asked.alias, number)


def delete_alias(tracker: EmbeddedTracker, asked: OfAlias) -> None:
    with named(f"Registered model alias {asked.alias[:250]};"):
        tracker.models.delete_alias(asked.name, asked.alias)


def get_by_alias(tracker: EmbeddedTracker, asked: OfAlias) -> FoundVersion:
    with named(f"Registered model alias {asked.alias[:250]}"):
        version = tracker.models.resolve(asked.name, f"@{asked.alias}")
    note_load(tracker.models, version.model, version.version, reference=f"@{asked.alias}", purpose=CLIENT)
    return FoundVersion(model_version=version_answer(version))


def named_model(asked: ByName) -> AbstractContextManager[None]:
    """Say of a model that is not there what MLflow says."""
    return named(f"Registered Model with name={asked.name[:250]}")


def _found(tracker: EmbeddedTracker, model: RegisteredModel) -> Found:
    return Found(registered_model=_answer(model, _latest(tracker, [model.name]).get(model.name, ())))


def _latest(tracker: EmbeddedTracker, names: Sequence[str]) -> dict[str, tuple[ModelVersion, ...]]:
    """Of each stage of each model its latest version."""
    if not names:
        return {}
    chosen: dict[str, dict[str, ModelVersion]] = {}
    token = None
    while True:
        page = tracker.models.versions(
            f"name IN ({', '.join(map(quoted, names))})", ["version DESC"], limit=LARGEST_PAGE, page_token=token
        )
        for version in page.items:
            chosen.setdefault(version.model, {}).setdefault(stages.stage_of(version), version)
        token = page.next_page_token
        if token is None:
            return {
                name: tuple(sorted(found.values(), key=lambda version: version.version))
                for name, found in chosen.items()
            }


def _answer(model: RegisteredModel, latest: Sequence[ModelVersion]) -> ModelAnswer:
    return ModelAnswer(
        name=model.name,
        creation_timestamp=model.created,
        last_updated_timestamp=model.updated,
        user_id=model.owner,
        description=model.description,
        latest_versions=tuple(map(version_answer, latest)),
        tags=pairs_of(model.tags),
        aliases=tuple(AliasAnswer(alias=each.alias, version=str(each.version)) for each in model.aliases),
    )


@contextmanager
def _taken(name: str) -> Iterator[None]:
    try:
        yield
    except AlreadyExists as error:
        raise type(error)(f"Registered Model (name={name}) already exists: {error.message}") from error
