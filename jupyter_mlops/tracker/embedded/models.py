"""The registry: who may, then the store. Every change of a model locks it first; see :mod:`..store.registry`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import AlreadyExists, Conflict, InvalidValue, NameTaken, NotFound
from jupyter_mlops.core.filters import Entity, parse_filter, parse_order_by
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.model_safety import MLMODEL, flavors_of, unsafe_reason
from jupyter_mlops.core.records import (
    Alias,
    AliasMove,
    Artifact,
    Json,
    Lifecycle,
    ModelVersion,
    Page,
    RegisteredModel,
    Tag,
    View,
)
from jupyter_mlops.store import artifacts, events, logged_models, registry, search, usage, webhooks
from jupyter_mlops.store.artifacts import File
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.registry import Model
from jupyter_mlops.store.runs import Facts
from jupyter_mlops.tracker.download import require_empty, require_whole, save_folder
from jupyter_mlops.tracker.embedded import aliases, deciding, deletedmodels
from jupyter_mlops.tracker.embedded.aliases import named, require_version
from jupyter_mlops.tracker.embedded.modelchange import ModelChange, no_alias
from jupyter_mlops.tracker.embedded.receiving import Found
from jupyter_mlops.tracker.embedded.references import EmbeddedReferences, registry_tags
from jupyter_mlops.tracker.mlmodel import LARGEST_MLMODEL, parse_mlmodel
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE


@checked
class EmbeddedModels(EmbeddedReferences):
    """See :class:`jupyter_mlops.tracker.protocol.Models`."""

    # --- models ---

    def create(
        self, name: str, *, description: str = "", tags: Mapping[str, str] | None = None, owner: str | None = None
    ) -> RegisteredModel:
        new = self._new(name, owner, values.description(description), registry_tags(tags or {}))
        with self._context.write() as connection:
            if not self._insert(connection, new):
                raise self._taken(connection, name)
        return new

    def get(self, name: str) -> RegisteredModel:
        with self._context.read() as connection:
            model = self._allowed(connection, name, Scope.READ)
            return registry.load(connection, [model.id])[0]

    def search(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[RegisteredModel]:
        query = _query(filter, order_by, Entity.MODEL, limit, page_token)
        with self._context.read() as connection:
            page = search.model_ids(connection, query, self._context.reach)
            found = registry.load(connection, page.items)
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def update(self, name: str, *, description: str | None = None, new_name: str | None = None) -> RegisteredModel:
        changes: dict[str, str] = {}
        if description is not None:
            changes["description"] = values.description(description)
        if new_name is not None and new_name != name:
            changes["name"] = values.model_name(new_name)
        with self._changing(name) as (connection, model):
            if "name" in changes:
                aliases.require_name_kept(self._context, connection, model, "renaming it")
                if registry.find(connection, changes["name"]) is not None:
                    raise self._taken(connection, changes["name"])
                self._audit(connection, "model.rename", changes["name"], {"from": name, "to": new_name})
            if changes:
                registry.update(connection, model.id, self._context.clock(), **changes)
                renamed = msgspec.structs.replace(model, name=changes.get("name", name))
                self._event(connection, "model.changed", renamed)
                if renamed.name != name:
                    # Who shows it by the name that it had looks again, too. Webhooks know it by itself, and hear once.
                    old = Event("model.changed", model.owner, name, self._context.clock(), restricted=model.restricted)
                    events.add_events(connection, old)
            return registry.load(connection, [model.id])[0]

    def set_tags(self, name: str, tags: Mapping[str, str], *, version: int | None = None) -> None:
        checked = registry_tags(tags)
        with self.changing(name) as change:
            change.set_tags(checked, version)

    def delete_tag(self, name: str, key: str, *, version: int | None = None) -> None:
        with self.changing(name) as change:
            change.delete_tag(key, version)

    def delete(self, name: str) -> None:
        with self._changing(name) as (connection, model):
            left = registry.aliases(connection, model.id)
            if left:
                raise Conflict(f"{named(name)} still has the aliases {', '.join(left)}: delete them first")
            aliases.require_name_kept(self._context, connection, model, "deleting it")
            deciding.supersede(self._context, connection, model, "the model was deleted")
            registry.delete(connection, model.id)
            self._event(connection, "model.deleted", model)
            self._audit(connection, deletedmodels.DELETED, name, deletedmodels.detail(model))

    # --- for others ---

    def restrict(self, name: str, restricted: bool) -> RegisteredModel:
        with self._deciding(name) as (connection, model):
            if model.restricted != restricted:
                registry.update(connection, model.id, self._context.clock(), restricted=restricted)
                # Told to all who saw it before or see it now.
                self._event(connection, "model.changed", msgspec.structs.replace(model, restricted=False))
                self._audit(connection, "model.restrict", name, {"restricted": restricted})
            return registry.load(connection, [model.id])[0]

    def transfer(self, name: str, owner: str) -> None:
        access.owner_name(owner)
        with self._deciding(name) as (connection, model):
            if model.owner != owner:
                aliases.require_handable(self._context, connection, model, owner)
                registry.update(connection, model.id, self._context.clock(), owner=owner)
                usage.require_room_for(connection, model.id, owner)
                for each in (model, msgspec.structs.replace(model, owner=owner)):
                    self._event(connection, "model.changed", each)
                self._audit(connection, "model.transfer", name, {"from": model.owner, "to": owner})

    # --- versions ---

    def register(
        self,
        name: str,
        run_id: str,
        path: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
    ) -> ModelVersion:
        values.model_name(name)
        values.description(description)
        if version is not None and not 1 <= version <= registry.LARGEST_VERSION:
            raise InvalidValue(f"version: {version} is out of range; 1 to {registry.LARGEST_VERSION} are accepted")
        checked = registry_tags(tags or {})
        if path:
            values.artifact_path(path)
        with self._context.read() as connection:
            owner = self._registrable(connection, run_id).owner
            model = registry.find(connection, name)
            if model is not None:
                self._require_target(model)
            files = _model_files(connection, run_id, path)
        mlmodel = self._mlmodel(run_id, path, files)
        now = self._context.clock()
        new = ModelVersion(
            model=name,
            version=0,
            description=description,
            user=self._context.principal.name,
            created=now,
            updated=now,
            run_id=run_id,
            source=f"runs:/{run_id}/{path}",
            digest=registry.version_digest(files),
            size=sum(file.blob.size for file in files),
            safe=unsafe_reason(mlmodel, [file.path for file in files]) is None,
            flavors=flavors_of(mlmodel),
            tags=checked,
        )
        # The model is its run's owner's, where the caller may give them things; else as one that is created.
        theirs = self._context.principal.scope_on(owner) >= Scope.WRITE
        created = self._new(name, owner if theirs else None, "", ()) if model is None else None
        version_id = new_id()
        with self._context.write() as connection:
            artifacts.lock_run(connection, run_id)
            self._registrable(connection, run_id)
            if _model_files(connection, run_id, path) != files:
                raise Conflict(f"{new.source} was changed while it was being registered: register it again")
            if created is not None:
                self._insert(connection, created)
            model = registry.find(connection, name, lock=True)
            if model is None:
                raise Conflict(f"{named(name)} was renamed or deleted just now: register it again")
            self._require_target(model)
            new = msgspec.structs.replace(new, logged_model_id=logged_models.at(connection, run_id, path))
            number = registry.insert_version(
                connection, model.id, version_id, new, files, inputs_of=run_id, number=version
            )
            self._event(connection, "version.created", model, {"version": number})
            # With the digest, so that the sealed record says which bytes these were.
            detail = {"version": number, "run_id": run_id, "path": path, "digest": new.digest}
            self._audit(connection, "version.create", name, detail)
            usage.charge(connection, [usage.Growth(model.id, model.owner, bytes=new.size)])
        return msgspec.structs.replace(new, version=number)

    def version(self, name: str, version: int) -> ModelVersion:
        with self._context.read() as connection:
            model = self._allowed(connection, name, Scope.READ)
            return registry.load_versions(connection, [require_version(connection, model, version)])[0]

    def resolve(self, name: str, reference: str) -> ModelVersion:
        text = reference
        with self._context.read() as connection:
            model = self._allowed(connection, name, Scope.READ)
            if text == "latest":
                version_id = registry.find_version(connection, model.id, None)
                if version_id is None:
                    raise NotFound(f"{named(name)} has no version yet")
            elif text.startswith("@"):
                target = registry.alias_target(connection, model.id, text[1:])
                if target is None:
                    raise no_alias(connection, model, text[1:])
                version_id = target[0]
            elif text.isascii() and text.isdigit() and len(text) <= 10:
                version_id = require_version(connection, model, int(text))
            else:
                raise InvalidValue(
                    f"{values.short(reference)} names no version of {name!r}: write a number, '@' and an alias such as "
                    "'@production', or 'latest'"
                )
            return registry.load_versions(connection, [version_id])[0]

    def versions(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[ModelVersion]:
        query = _query(filter, order_by, Entity.VERSION, limit, page_token)
        with self._context.read() as connection:
            page = search.version_ids(connection, query, self._context.reach)
            found = registry.load_versions(connection, page.items)
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def update_version(self, name: str, version: int, *, description: str) -> ModelVersion:
        values.description(description)
        with self._changing(name) as (connection, model):
            version_id = require_version(connection, model, version)
            registry.update_version(connection, version_id, self._context.clock(), description=description)
            self._event(connection, "model.changed", model)
            return registry.load_versions(connection, [version_id])[0]

    def delete_version(self, name: str, version: int) -> None:
        with self._changing(name) as (connection, model):
            version_id = require_version(connection, model, version)
            pointing = registry.aliases(connection, model.id, version_id)
            if pointing:
                raise Conflict(
                    f"the alias {pointing[0]!r} points at {named(name, version)}: move or delete the alias first"
                )
            held = sum(file.blob.size for file in artifacts.walk_files(connection, version_id))
            registry.delete_version(connection, version_id)
            deciding.supersede(self._context, connection, model, "the candidate was deleted", version)
            ModelChange(self._context, connection, model).touch()
            self._audit(connection, "version.delete", name, {"version": version})
            usage.charge(connection, [usage.Growth(model.id, bytes=-held)])

    def files(self, name: str, version: int) -> tuple[Artifact, ...]:
        return tuple(file.record() for file in self._files(name, version))

    def stat(self, name: str, version: int, path: str) -> Artifact:
        return self._file(name, version, path).record()

    def open(self, name: str, version: int, path: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._read(name, version, self._file(name, version, path), start, stop)

    def found(self, name: str, version: int, path: str, digest: str | None = None) -> Found:
        """A version's file, and its bytes. Who does not know the file's ``digest`` cannot see whether it is the one
        that was registered; for them all files are compared with the version's (``IntegrityError``)."""
        if digest is None:
            require_whole(self.version(name, version), self.files(name, version))
        file = self._file(name, version, path)
        read = partial(self._read, name, version, file)
        return Found(file.record(), read, partial(self._context.blobs.link, file.blob))

    def download(self, name: str, version: int, destination: Path) -> Path:
        files = self._files(name, version)
        require_whole(self.version(name, version), [file.record() for file in files])
        require_empty(destination)
        openers = {file.path: lambda file=file: self._read(name, version, file) for file in files}
        return save_folder(destination, "", openers)

    # --- aliases ---

    def set_alias(self, name: str, alias: str, version: int, *, reason: str = "") -> Alias:
        values.alias_name(alias)
        values.reason(reason)
        with self.changing(name) as change:
            change.set_alias(alias, version, reason)
        return Alias(alias, version)

    def delete_alias(self, name: str, alias: str, *, reason: str = "") -> None:
        values.reason(reason)
        with self.changing(name) as change:
            change.delete_alias(alias, reason)

    def alias_history(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        with self._context.read() as connection:
            model = self._allowed(connection, name, Scope.READ)
            return registry.alias_moves(connection, model.id, alias)

    # --- shared ---

    def changing(self, name: str) -> AbstractContextManager[ModelChange]:
        """Several changes of a model in one transaction."""
        return self._change(name)

    def _new(self, name: str, owner: str | None, description: str, tags: tuple[Tag, ...]) -> RegisteredModel:
        values.model_name(name)
        now = self._context.clock()
        return RegisteredModel(
            name=name,
            owner=self._context.owner_of_new(owner, f"registered model {name!r}"),
            description=description,
            created=now,
            updated=now,
            tags=tags,
        )

    def _insert(self, connection: Connection, new: RegisteredModel) -> bool:
        model = Model(new_id(), new.name, new.owner, new.restricted)
        if not registry.insert(connection, model.id, new):
            return False
        self._event(connection, "model.created", model)
        self._audit(connection, "model.create", new.name, {"owner": new.owner})
        return True

    def _taken(self, connection: Connection, name: str) -> AlreadyExists:
        """The answer to one who would have a name that is taken, which says no more than that to who may not see it."""
        model = registry.find(connection, name)
        if model is None or self._sees(model):
            return AlreadyExists(f"the registered model {name!r} exists already: choose another name")
        return NameTaken(f"the name {name!r} is taken: choose another name")

    def _registrable(self, connection: Connection, run_id: str) -> Facts:
        run = self._context.run_allowed(connection, run_id, Scope.READ)
        if run.lifecycle is Lifecycle.DELETED:
            raise Conflict(f"run {run_id} is deleted; restore it to register a model from it")
        return run

    def _mlmodel(self, run_id: str, path: str, files: Sequence[File]) -> Mapping[str, Any]:
        source = f"runs:/{run_id}/{path}"
        found = next((file for file in files if file.path == MLMODEL), None)
        if found is None:
            with self._context.read() as connection:
                every = [file.path for file in artifacts.walk_files(connection, run_id)]
            folders = [repr(each[: -len(MLMODEL) - 1]) for each in every if each.endswith(f"/{MLMODEL}")]
            models = f"the run has models in {', '.join(folders)}" if folders else "the run has no model at all"
            raise InvalidValue(f"{source} is no model: a model is a folder with a file {MLMODEL!r}; {models}")
        if found.blob.size > LARGEST_MLMODEL:
            raise InvalidValue(f"{source}: its {MLMODEL} file has {found.blob.size} bytes, more than a description has")
        content = b"".join(self._context.blobs.read(found.blob, f"{source}/{MLMODEL}"))
        return parse_mlmodel(content, source)

    def _files(self, name: str, version: int) -> tuple[File, ...]:
        with self._context.read() as connection:
            model = self._allowed(connection, name, Scope.READ)
            return artifacts.walk_files(connection, require_version(connection, model, version))

    def _file(self, name: str, version: int, path: str) -> File:
        values.artifact_path(path)
        with self._context.read() as connection:
            model = self._allowed(connection, name, Scope.READ)
            file = artifacts.get_file(connection, require_version(connection, model, version), path)
        if file is None:
            raise NotFound(f"{named(name, version)} has no file {path!r}")
        return file

    def _read(self, name: str, version: int, file: File, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._context.blobs.read(file.blob, f"file {file.path!r} of {named(name, version)}", start, stop)

    def _sees(self, model: Model) -> bool:
        return access.sees_model(self._context.principal, model.owner, model.restricted)

    def _require(self, model: Model, scope: Scope) -> None:
        what = named(model.name)
        access.require_model(self._context.principal, model.owner, scope, what, restricted=model.restricted)

    def _require_target(self, model: Model) -> None:
        """Raise unless a version may be registered in the model; a new one cannot have its name either."""
        if not self._sees(model):
            raise NameTaken(f"the name {model.name!r} is taken: choose another name")
        self._require(model, Scope.WRITE)

    def _allowed(self, connection: Connection, name: str, scope: Scope, *, lock: bool = False) -> Model:
        return self._context.model_allowed(connection, name, scope, lock=lock)

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Connection, Model]]:
        with self._context.write() as connection:
            yield connection, self._allowed(connection, name, Scope.WRITE, lock=True)

    @contextmanager
    def _change(self, name: str) -> Iterator[ModelChange]:
        with self._changing(name) as (connection, model):
            yield ModelChange(self._context, connection, model)

    @contextmanager
    def _deciding(self, name: str) -> Iterator[tuple[Connection, Model]]:
        with self._changing(name) as (connection, model):
            access.require_decision(self._context.principal, named(name))
            yield connection, model

    def _event(self, connection: Connection, kind: str, model: Model, detail: Mapping[str, Json] | None = None) -> None:
        now, user = self._context.clock(), self._context.principal.name
        webhooks.announce(connection, model, kind, now, user, detail)

    def _audit(self, connection: Connection, action: str, name: str, detail: Json = None) -> None:
        events.add_audit(connection, self._context.principal.name, action, name, self._context.clock(), detail)


def _query(filter: str, order_by: Sequence[str], entity: Entity, limit: int, page_token: str | None) -> search.Query:
    return search.Query(parse_filter(filter, entity), parse_order_by(order_by, entity), View.ALL, limit, page_token)


def _model_files(connection: Connection, run_id: str, path: str) -> tuple[File, ...]:
    """The files of the folder ``path`` of a run, by their path in it."""
    start = len(path) + 1 if path else 0
    return tuple(
        File(file.path[start:], file.blob, file.created)
        for file in artifacts.walk_files(connection, run_id, path)
        if file.path != path
    )
