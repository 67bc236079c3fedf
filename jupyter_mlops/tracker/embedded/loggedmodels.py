"""Logged models: who may do what with their runs, then the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.batches import check_batch
from jupyter_mlops.core.errors import AlreadyExists, Conflict, InvalidValue, NotFound
from jupyter_mlops.core.filters import Entity, parse_filter, parse_order_by
from jupyter_mlops.core.ids import is_id, new_id, new_run_name
from jupyter_mlops.core.logged_model import LoggedModel, LoggedModelStatus, ModelRole, ModelUse
from jupyter_mlops.core.records import Batch, Lifecycle, NewRun, Page, Param, RunStatus, Tag, View
from jupyter_mlops.core.redaction import redact_batch, redact_tags, redact_text, shown
from jupyter_mlops.store import artifacts, events, experiments, logged_models, runs, search
from jupyter_mlops.store.calls import param_row
from jupyter_mlops.store.logged_models import Place
from jupyter_mlops.store.runs import Facts
from jupyter_mlops.tracker.embedded._context import Context, run_changed
from jupyter_mlops.tracker.embedded.runcalls import RunCalls
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE

MOST_USES = 1000


@checked
class EmbeddedLoggedModels:
    """See :class:`jupyter_mlops.tracker.logged.LoggedModels`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(
        self,
        experiment_id: str,
        *,
        name: str | None = None,
        run_id: str | None = None,
        origin: str = "",
        model_type: str = "",
        params: Sequence[Param] = (),
        tags: Mapping[str, str] | None = None,
        model_id: str | None = None,
    ) -> LoggedModel:
        if model_id is not None and not is_id(model_id):
            raise InvalidValue(f"model id {values.short(model_id)}: an id is 32 hex digits in lower case")
        name = values.model_name(new_run_name() if name is None else name)
        values.artifact_path(name)
        values.check_text(model_type, "model type", values.LONGEST_KEY)
        values.check_text(origin, "origin", values.LONGEST_RUN_SOURCE)
        logged = _checked_params(params)
        labels = _checked_tags(tags or {})
        own_run = run_id is None
        if run_id is None:
            self._require_own(model_id)
            # The run of a model whose id is given has the same one, so that a repeated call makes no second run.
            run_id = self._made_for(experiment_id, name, model_id)
        model_id, now = model_id or new_id(), self._context.clock()
        with self._context.write() as connection:
            artifacts.lock_run(connection, run_id)
            run = self._writable(connection, run_id)
            if run.experiment_id != experiment_id:
                raise InvalidValue(
                    f"run {run_id} is in experiment {run.experiment_id}, not {values.short(experiment_id)}"
                )
            present = logged_models.places(connection, [model_id]).get(model_id)
            if present is not None:
                if present.run_id != run_id or present.deleted:
                    raise _taken(model_id)
                return self._loaded(connection, model_id)
            new = LoggedModel(
                model_id=model_id,
                name=name,
                experiment_id=experiment_id,
                run_id=run_id,
                path=_free_path(connection, run_id, name, model_id),
                own_run=own_run,
                origin=redact_text(origin),
                model_type=model_type,
                status=LoggedModelStatus.PENDING,
                created=now,
                updated=now,
                params=logged,
                tags=labels,
            )
            logged_models.insert(connection, new, _rows(model_id, logged))
            if not own_run:
                use = ModelUse(run_id=run_id, model_id=model_id, role=ModelRole.OUTPUT)
                logged_models.use(connection, [use])
            events.add_events(connection, run_changed(run_id, run, now))
        return new

    def get(self, model_id: str) -> LoggedModel:
        with self._context.read() as connection:
            self._allowed(connection, model_id, Scope.READ)
            return self._loaded(connection, model_id)

    def search(
        self,
        experiment_ids: Sequence[str] = (),
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[LoggedModel]:
        entity = Entity.LOGGED
        query = search.Query(
            parse_filter(filter, entity), parse_order_by(order_by, entity), View.ACTIVE, limit, page_token
        )
        with self._context.read() as connection:
            page = search.logged_model_ids(connection, query, experiment_ids, self._context.reach)
            found = logged_models.load(connection, page.items, self._context.reach)
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def finish(self, model_id: str, status: LoggedModelStatus | str) -> LoggedModel:
        try:
            chosen = LoggedModelStatus(status)
        except ValueError:
            known = ", ".join(each.value for each in LoggedModelStatus)
            raise InvalidValue(f"status: {values.short(status)} is none of a logged model; {known} are") from None
        with self._changing(model_id) as connection:
            logged_models.update(connection, model_id, self._context.clock(), status=chosen.value)
            return self._loaded(connection, model_id)

    def log_params(self, model_id: str, params: Sequence[Param]) -> None:
        logged = _checked_params(params)
        with self._changing(model_id) as connection:
            present = logged_models.param_texts(connection, model_id)
            for param in logged:
                if present.get(param.key, param.text) != param.text:
                    was, new = shown(param.key, present[param.key]), shown(param.key, param.text)
                    raise InvalidValue(
                        f"logged model {model_id}: parameter {param.key!r} is {was} already and cannot become {new}"
                    )
            logged_models.add_params(connection, _rows(model_id, logged))
            logged_models.update(connection, model_id, self._context.clock())

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        labels = _checked_tags(tags)
        with self._changing(model_id) as connection:
            logged_models.set_tags(connection, model_id, labels)
            logged_models.update(connection, model_id, self._context.clock())

    def delete_tag(self, model_id: str, key: str) -> None:
        values.check_key(key, "tag")
        with self._changing(model_id) as connection:
            if not logged_models.delete_tag(connection, model_id, key):
                raise NotFound(f"logged model {model_id} has no tag {values.short(key)}")
            logged_models.update(connection, model_id, self._context.clock())

    def delete(self, model_id: str) -> None:
        with self._changing(model_id) as connection:
            now = self._context.clock()
            logged_models.update(connection, model_id, now, lifecycle=Lifecycle.DELETED.value)
            place = logged_models.places(connection, [model_id])[model_id]
            if place.own_run:
                below = runs.delete(connection, place.run_id, self._context.writable_owners, now)
                experiments.tell_of_runs(connection, below, now)
            events.add_audit(connection, self._context.principal.name, "logged_model.delete", model_id, now)

    def use(self, run_id: str, uses: Sequence[ModelUse]) -> None:
        if len(uses) > MOST_USES:
            raise InvalidValue(f"uses: {len(uses)} are too many; at most {MOST_USES} are accepted")
        for each in uses:
            if each.run_id != run_id:
                raise InvalidValue(f"uses: one is of run {values.short(each.run_id)}, not of {run_id}")
            if not values.SMALLEST_INT <= each.step <= values.LARGEST_INT:
                raise InvalidValue(f"uses: step: {each.step} is out of range")
        with self._context.write() as connection:
            artifacts.lock_run(connection, run_id)
            run = self._writable(connection, run_id)
            for model_id in dict.fromkeys(each.model_id for each in uses):
                self._allowed(connection, model_id, Scope.READ)
            logged_models.use(connection, uses)
            events.add_events(connection, run_changed(run_id, run, self._context.clock()))

    def uses(self, run_ids: Sequence[str]) -> tuple[ModelUse, ...]:
        wanted = [run_id for run_id in dict.fromkeys(run_ids) if is_id(run_id)]
        with self._context.read() as connection:
            return tuple(logged_models.uses(connection, wanted, self._context.reach))

    # --- rules ---

    def _require_own(self, model_id: str | None) -> None:
        """Raise ``AlreadyExists`` for the id of a model that has another run than one of its own: before one is made,
        which would be left."""
        if model_id is None:
            return
        with self._context.read() as connection:
            present = logged_models.places(connection, [model_id]).get(model_id)
        if present is not None and present.run_id != model_id:
            raise _taken(model_id)

    def _made_for(self, experiment_id: str, name: str, run_id: str | None) -> str:
        """A run for a model that no run logs, so that its files are kept as any others."""
        new = NewRun(experiment_id=experiment_id, run_id=run_id, name=name, status=RunStatus.FINISHED)
        call = RunCalls(self._context).create(new)
        self._context.writer.submit(call)
        return call.run_id

    def _allowed(self, connection: Connection, model_id: str, scope: Scope) -> Place:
        return require_logged(self._context, connection, model_id, scope)

    def _writable(self, connection: Connection, run_id: str) -> Facts:
        run = self._context.run_allowed(connection, run_id, Scope.WRITE)
        if run.lifecycle is Lifecycle.DELETED:
            raise Conflict(f"run {run_id} is deleted: restore it first")
        return run

    def _loaded(self, connection: Connection, model_id: str) -> LoggedModel:
        return logged_models.load(connection, [model_id], self._context.reach)[0]

    @contextmanager
    def _changing(self, model_id: str) -> Iterator[Connection]:
        """A transaction that changes a model; its run tells of it, as of all that is logged to it."""
        with self._context.write() as connection:
            place = self._allowed(connection, model_id, Scope.WRITE)
            artifacts.lock_run(connection, place.run_id)
            yield connection
            run = runs.facts(connection, place.run_id)
            assert run is not None, "it is locked"
            events.add_events(connection, run_changed(place.run_id, run, self._context.clock()))


def require_logged(context: Context, connection: Connection, model_id: str, scope: Scope) -> Place:
    """Where a logged model is, on which the principal may use ``scope``."""
    what = f"logged model {model_id if is_id(model_id) else values.short(model_id)}"
    place = logged_models.places(connection, [model_id]).get(model_id) if is_id(model_id) else None
    if place is None or place.deleted:
        raise NotFound(f"{what} does not exist")
    run = runs.facts(connection, place.run_id)
    assert run is not None, "a model is deleted with its run"
    context.require(connection, run.owner, run.experiment_id, scope, what)
    return place


def _taken(model_id: str) -> AlreadyExists:
    return AlreadyExists(f"the id {model_id} of a logged model is taken: choose another")


def _free_path(connection: Connection, run_id: str, name: str, model_id: str) -> str:
    """The model's name where the run has nothing of it, else one that is only this model's."""
    taken = logged_models.at(connection, run_id, name) or artifacts.walk_files(connection, run_id, name)
    return f"{name}-{model_id[-8:]}" if taken else name


def _rows(model_id: str, params: Sequence[Param]) -> list[dict[str, object]]:
    return [
        {"model_id": model_id, **{key: value for key, value in param_row("", param).items() if key != "run_id"}}
        for param in params
    ]


def _checked_params(params: Sequence[Param]) -> tuple[Param, ...]:
    batch = Batch(params=tuple(params))
    check_batch(batch)
    return tuple({param.key: param for param in redact_batch(batch).params}.values())


def _checked_tags(tags: Mapping[str, str]) -> tuple[Tag, ...]:
    return redact_tags(values.tag(key, value) for key, value in sorted(tags.items()))
