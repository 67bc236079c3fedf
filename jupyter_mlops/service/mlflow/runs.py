"""Runs. What MLflow keeps in tags and is a field of a run here (its name, its parent, what was executed) is told in
both ways, and may be set in MLflow's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.logged_model import ModelRole, ModelUse
from jupyter_mlops.core.records import (
    LARGEST_PAGE,
    Batch,
    Input,
    NewRun,
    Run,
    RunChange,
)
from jupyter_mlops.service.mlflow.messages import Answer, Message, active, limited, missing, named, number
from jupyter_mlops.service.mlflow.words import (
    MODEL_PREFIX,
    KeyValue,
    Pair,
    experiment_of,
    experiments_of,
    run_uri,
    status_of,
    view_of,
)
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.tracker.embedded import EmbeddedTracker

RUN_NAME = "mlflow.runName"
USER = "mlflow.user"
SOURCE = "mlflow.source.name"
PARENT = "mlflow.parentRunId"
CONTEXT = "mlflow.data.context"
_UNKNOWN = "unknown"


class MetricAnswer(Answer, frozen=True, kw_only=True, gc=False):
    key: str
    value: float | str
    timestamp: int
    step: int
    dataset_name: str | None = None
    dataset_digest: str | None = None
    model_id: str | None = None
    run_id: str | None = None


class DatasetAnswer(Answer, frozen=True, kw_only=True):
    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


class InputAnswer(Answer, frozen=True, kw_only=True):
    dataset: DatasetAnswer
    tags: tuple[Pair, ...] = ()


class ModelInput(Answer, frozen=True, kw_only=True):
    model_id: str


class ModelOutput(Answer, frozen=True, kw_only=True):
    model_id: str
    step: int


class Inputs(Answer, frozen=True, kw_only=True):
    dataset_inputs: tuple[InputAnswer, ...] = ()
    model_inputs: tuple[ModelInput, ...] = ()


class Outputs(Answer, frozen=True, kw_only=True):
    model_outputs: tuple[ModelOutput, ...] = ()


class Info(Answer, frozen=True, kw_only=True, gc=False):
    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None = None
    artifact_uri: str
    lifecycle_stage: str


class Data(Answer, frozen=True, kw_only=True):
    metrics: Sequence[MetricAnswer] = ()
    params: Sequence[Pair] = ()
    tags: Sequence[Pair] = ()


_NO_INPUTS, _NO_OUTPUTS = Inputs(), Outputs()


class RunAnswer(Answer, frozen=True, kw_only=True):
    info: Info
    data: Data
    inputs: Inputs
    outputs: Outputs


class Found(Answer, frozen=True, kw_only=True):
    run: RunAnswer


class Changed(Answer, frozen=True, kw_only=True):
    run_info: Info


class Listed(Answer, frozen=True, kw_only=True):
    runs: tuple[RunAnswer, ...] = ()
    next_page_token: str | None = None


class OfRun(Message, frozen=True, kw_only=True):
    """Base of what is asked about one run, by its id or by the name that this had before."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        found = self.run_id or self.run_uuid
        if not found:
            raise missing("run_id")
        return found


class Create(Message, frozen=True, kw_only=True):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int | None = None
    tags: tuple[KeyValue, ...] = ()


class Update(OfRun, frozen=True, kw_only=True):
    status: int | str | None = None
    end_time: int | None = None
    run_name: str | None = None


class Search(Message, frozen=True, kw_only=True):
    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    run_view_type: int | str | None = None
    max_results: int = 1000
    order_by: tuple[str, ...] = ()
    page_token: str | None = None


class DeleteTag(OfRun, frozen=True, kw_only=True):
    key: str


def create(tracker: EmbeddedTracker, asked: Create) -> Sequence[RunCall]:
    tags = {tag.key: tag.value for tag in asked.tags}
    name = asked.run_name or tags.pop(RUN_NAME, "")
    tags.pop(RUN_NAME, None)
    parent = tags.get(PARENT)
    parent = tags.pop(PARENT) if is_id(parent) else None
    if asked.user_id:
        tags.setdefault(USER, asked.user_id)
    new = NewRun(
        experiment_id=experiment_of(tracker, asked.experiment_id or "0"),
        name=name or None,
        start_time=asked.start_time,
        parent_run_id=parent,
        source=tags.pop(SOURCE, ""),
        batch=Batch(tags=tuple(values.tag(key, value) for key, value in tags.items())),
    )
    return (tracker.run_calls.create(new),)


def needs_default(asked: Create) -> bool:
    """Whether the experiment meant must be looked up."""
    return asked.experiment_id in ("", "0")


def creating(asked: Create) -> AbstractContextManager[None]:
    """Say of an experiment that can have no new runs what MLflow says."""
    return active(f"experiment {asked.experiment_id[:64]}")


def created(run: Run) -> Found:
    return Found(run=answer(run))


def update(tracker: EmbeddedTracker, asked: Update) -> Sequence[RunCall]:
    change = RunChange(status=status_of(asked.status), end_time=asked.end_time, name=asked.run_name or None)
    return (tracker.run_calls.change(asked.run, change),)


def updated(run: Run) -> Changed:
    return Changed(run_info=answer(run).info)


def get(tracker: EmbeddedTracker, asked: OfRun) -> Found:
    return Found(run=answers(tracker, [found(tracker, asked.run)])[0])


def search(tracker: EmbeddedTracker, asked: Search) -> Listed:
    limited(asked.max_results, "max_results", LARGEST_PAGE)
    view = view_of(asked.run_view_type, "run_view_type")
    token = asked.page_token or None
    # MLflow's own order, which also decides ties.
    order = (*asked.order_by, "attributes.start_time DESC", "attributes.run_id ASC")
    inside = [experiment_of(tracker, each) for each in asked.experiment_ids]
    page = None
    if inside:
        try:
            page = tracker.runs.search(
                inside, asked.filter, order, view=view, limit=asked.max_results, page_token=token
            )
        except NotFound:
            # Experiments that are not there have no runs.
            inside = experiments_of(tracker, inside)
    if page is None:
        if not inside:
            return Listed()
        page = tracker.runs.search(inside, asked.filter, order, view=view, limit=asked.max_results, page_token=token)
    return Listed(runs=answers(tracker, page.items), next_page_token=page.next_page_token)


def delete(tracker: EmbeddedTracker, asked: OfRun) -> None:
    tracker.runs.delete(asked.run)


def restore(tracker: EmbeddedTracker, asked: OfRun) -> None:
    tracker.runs.restore(asked.run)


def delete_tag(tracker: EmbeddedTracker, asked: DeleteTag) -> None:
    run_id = found(tracker, asked.run).run_id
    with named(f"No tag with name: {asked.key} in run with id {run_id};"), active(f"run {run_id}"):
        tracker.runs.delete_tag(run_id, asked.key)


# --- shared ----------------------------------------------------------------------------------------------------------


def found(tracker: EmbeddedTracker, run_id: str) -> Run:
    with named_run(run_id):
        return tracker.runs.get(run_id)


def named_run(run_id: str) -> AbstractContextManager[None]:
    return named(f"Run with id={run_id[:64]}")


@contextmanager
def writing(asked: OfRun) -> Iterator[None]:
    """Say of a run that is not there, or cannot be written to, what MLflow says."""
    with named_run(asked.run), active(f"run {asked.run}"):
        yield


def answers(tracker: EmbeddedTracker, runs: Sequence[Run]) -> tuple[RunAnswer, ...]:
    """Runs with the models that they took and made."""
    uses: dict[str, list[ModelUse]] = {}
    for use in tracker.logged_models.uses([run.run_id for run in runs]):
        uses.setdefault(use.run_id, []).append(use)
    return tuple(answer(run, uses.get(run.run_id, ())) for run in runs)


def answer(run: Run, uses: Sequence[ModelUse] = ()) -> RunAnswer:
    tags = {tag.key: tag.value for tag in run.tags}
    return RunAnswer(
        info=info(run, tags.get(USER)),
        data=Data(
            metrics=[
                MetricAnswer(key=each.key, value=number(each.value), timestamp=each.timestamp, step=each.step)
                for each in run.metrics
            ]
            or (),
            params=[Pair(param.key, param.text) for param in run.params] or (),
            tags=_tags(run, tags),
        ),
        inputs=_inputs(run, uses) if run.inputs or uses else _NO_INPUTS,
        outputs=_outputs(uses) if uses else _NO_OUTPUTS,
    )


def info(run: Run, user: str | None = None) -> Info:
    return Info(
        run_id=run.run_id,
        run_uuid=run.run_id,
        run_name=run.name,
        experiment_id=run.experiment_id,
        user_id=user or run.user,
        status=run.status.value,
        start_time=run.start_time,
        end_time=run.end_time,
        artifact_uri=run_uri(run),
        lifecycle_stage=run.lifecycle.value,
    )


def _inputs(run: Run, uses: Sequence[ModelUse]) -> Inputs:
    models = (use.model_id for use in uses if use.role is ModelRole.INPUT)
    return Inputs(
        dataset_inputs=tuple(map(_input, run.inputs)),
        model_inputs=tuple(ModelInput(model_id=MODEL_PREFIX + model_id) for model_id in models),
    )


def _outputs(uses: Sequence[ModelUse]) -> Outputs:
    made = (use for use in uses if use.role is ModelRole.OUTPUT)
    return Outputs(
        model_outputs=tuple(ModelOutput(model_id=MODEL_PREFIX + use.model_id, step=use.step) for use in made)
    )


def _tags(run: Run, tags: Mapping[str, str]) -> Sequence[Pair]:
    told = {USER: run.user, **tags, RUN_NAME: run.name}
    if run.source:
        told.setdefault(SOURCE, run.source)
    if run.parent_run_id:
        told.setdefault(PARENT, run.parent_run_id)
    return [Pair(key, value) for key, value in sorted(told.items())]


def _input(used: Input) -> InputAnswer:
    dataset = used.dataset
    tags = {tag.key: tag.value for tag in used.tags}
    if used.context:
        tags.setdefault(CONTEXT, used.context)
    return InputAnswer(
        dataset=DatasetAnswer(
            name=dataset.name,
            digest=dataset.digest,
            source_type=dataset.source_type,
            source=dataset.source,
            schema=dataset.schema,
            profile=dataset.profile,
        ),
        tags=tuple(Pair(key, value) for key, value in tags.items()),
    )
