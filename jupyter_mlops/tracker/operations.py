"""The tracker's operations over HTTP: one declaration each.

The service routes and validates by them, its description is made from them, and the remote tracker calls by them. What
an operation takes and gives is read off its method in :mod:`jupyter_mlops.tracker.protocol`: what the path names is
taken from there, the rest from the query of a GET or DELETE and from the body of the others. Bytes are not among them:
files go up and down by streams of their own.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cached_property
from typing import Any

import msgspec

from jupyter_mlops.core.access import Scope
from jupyter_mlops.tracker import protocol

PREFIX = "api/v1/"
"""Where the operations are, below the service's own URL."""

RUN_CONTENT = "runs/{run_id}/content"
"""Where the bytes of a run's files are; the query says which: ``path``, and for a part ``start`` and ``stop``."""
UPLOAD_CONTENT = "runs/{run_id}/uploads/{upload_id}/content"
"""Where parts of files are put; the query says which: ``path`` and ``offset``."""
VERSION_CONTENT = "models/{name}/versions/{version}/content"
MODEL_ARCHIVE = "models/{name}/archive"
"""A whole version as a tar archive; the query says which: ``reference``."""

EVENTS = "events"
"""The WebSocket that tells what happens."""
PRINCIPAL = "principal"
"""Who the service takes the caller for."""
PAGE = "page"
"""Where people see what is here."""

NOUNS: dict[str, type] = {
    "experiments": protocol.Experiments,
    "runs": protocol.Runs,
    "artifacts": protocol.Artifacts,
    "models": protocol.Models,
    "datasets": protocol.Datasets,
    "promotions": protocol.Promotions,
    "policies": protocol.Policies,
    "checks": protocol.Checks,
    "webhooks": protocol.Webhooks,
    "logged_models": protocol.LoggedModels,
    "quotas": protocol.Quotas,
    "retention": protocol.Retentions,
    "people": protocol.People,
    "access_tokens": protocol.AccessTokens,
    "": protocol.Tracker,
}
"""The parts of a tracker by their names; the tracker itself has none."""


class Operation:
    """One method of a tracker's noun, and how it is called.

    Parameters
    ----------
    noun, name
        Which method; the tracker's own have no noun.
    method, path
        Of HTTP; names in braces are parameters.
    scope
        The least that the caller's credential must have. What it may be used on is the tracker's business.
    decides
        Whether it decides for others: then who calls is asked anew, whatever was remembered of them.
    """

    def __init__(self, noun: str, name: str, method: str, path: str, scope: Scope, *, decides: bool = False) -> None:
        self.noun = noun
        self.name = name
        self.method = method
        self.path = path
        self.scope = scope
        self.decides = decides

    @property
    def id(self) -> str:
        """``runs.get``."""
        return f"{self.noun}.{self.name}" if self.noun else self.name

    @property
    def function(self) -> Callable[..., Any]:
        """The method of the protocol."""
        return typing.cast("Callable[..., Any]", getattr(NOUNS[self.noun], self.name))

    @cached_property
    def signature(self) -> inspect.Signature:
        """What it takes, without ``self``, with types instead of their names."""
        signature = inspect.signature(self.function)
        hints = typing.get_type_hints(self.function)
        kept = [
            parameter.replace(annotation=hints[name])
            for name, parameter in signature.parameters.items()
            if name != "self"
        ]
        return signature.replace(parameters=kept, return_annotation=hints["return"])

    @property
    def answer(self) -> Any:
        """The type of what it gives."""
        return self.signature.return_annotation

    @property
    def in_path(self) -> tuple[str, ...]:
        """The names of its parameters that are in the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def has_body(self) -> bool:
        return self.method not in ("GET", "DELETE")

    @cached_property
    def path_fields(self) -> type[msgspec.Struct]:
        """A struct of the parameters in the path."""
        return self._fields("Path", lambda name: name in self.in_path)

    @cached_property
    def query(self) -> type[msgspec.Struct]:
        """A struct of the parameters in the query."""
        return self._fields("Query", lambda name: name not in self.in_path and not self.has_body)

    @cached_property
    def body(self) -> type[msgspec.Struct]:
        """A struct of the parameters in the body."""
        return self._fields("Body", lambda name: name not in self.in_path and self.has_body)

    def _fields(self, part: str, belongs: Callable[[str], bool]) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for name, parameter in self.signature.parameters.items():
            if belongs(name):
                default = () if parameter.default is parameter.empty else (parameter.default,)
                fields.append((name, _as_sent(parameter.annotation), *default))
        title = "".join(word.title() for word in re.split(r"[._]", self.id))
        return msgspec.defstruct(
            title + part, fields, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True
        )


def _as_sent(hint: Any) -> Any:
    """The type of a parameter on its way: where a word may be given as text or as itself, it is sent as text."""
    kinds = [each for each in typing.get_args(hint) if isinstance(each, type) and issubclass(each, Enum)]
    return kinds[0] if kinds and str in typing.get_args(hint) else hint


_DECIDING = frozenset(
    "experiments.share experiments.unshare experiments.transfer models.restrict models.transfer promotions.approve "
    "promotions.reject promotions.request_changes promotions.rollback promotions.override policies.set checks.claim "
    "checks.renew checks.report webhooks.create webhooks.delete quotas.set retention.set people.offboard people.rename "
    "access_tokens.create access_tokens.revoke".split()
)


def _declared() -> Iterator[Operation]:
    read, write, admin = Scope.READ, Scope.WRITE, Scope.ADMIN

    def of(noun: str, *rows: tuple[str, str, str, Scope]) -> Iterator[Operation]:
        for name, method, path, scope in rows:
            yield Operation(noun, name, method, path, scope, decides=f"{noun}.{name}" in _DECIDING)

    yield from of(
        "experiments",
        ("create", "POST", "experiments", write),
        ("ensure", "POST", "experiments/ensure", write),
        ("search", "POST", "search/experiments", read),
        ("find", "GET", "experiments/find", read),
        ("get", "GET", "experiments/{experiment_id}", read),
        ("rename", "POST", "experiments/{experiment_id}/rename", write),
        ("set_tags", "PATCH", "experiments/{experiment_id}/tags", write),
        ("delete_tag", "DELETE", "experiments/{experiment_id}/tags", write),
        ("delete", "DELETE", "experiments/{experiment_id}", write),
        ("restore", "POST", "experiments/{experiment_id}/restore", write),
        ("share", "POST", "experiments/{experiment_id}/shares", write),
        ("unshare", "DELETE", "experiments/{experiment_id}/shares", write),
        ("shares", "GET", "experiments/{experiment_id}/shares", read),
        ("transfer", "POST", "experiments/{experiment_id}/owner", write),
    )
    yield from of(
        "runs",
        ("create", "POST", "runs", write),
        ("search", "POST", "search/runs", read),
        ("resolve", "GET", "runs/resolve", read),
        ("active", "GET", "runs/active", read),
        ("get", "GET", "runs/{run_id}", read),
        ("change", "PATCH", "runs/{run_id}", write),
        ("delete", "DELETE", "runs/{run_id}", write),
        ("restore", "POST", "runs/{run_id}/restore", write),
        ("log", "POST", "runs/{run_id}/log", write),
        ("heartbeat", "POST", "runs/{run_id}/heartbeat", write),
        ("delete_tag", "DELETE", "runs/{run_id}/tags", write),
        ("history", "GET", "runs/{run_id}/history", read),
        ("sampled", "GET", "runs/{run_id}/sampled", read),
        ("comment", "POST", "runs/{run_id}/comments", write),
        ("comments", "GET", "runs/{run_id}/comments", read),
        ("children", "GET", "runs/{run_id}/children", read),
        ("watermark", "GET", "streams/{stream}", read),
    )
    yield from of(
        "artifacts",
        ("list", "GET", "runs/{run_id}/artifacts", read),
        ("walk", "GET", "runs/{run_id}/files", read),
        ("stat", "GET", "runs/{run_id}/file", read),
        ("delete", "DELETE", "runs/{run_id}/artifacts", write),
        ("parts", "GET", "runs/{run_id}/uploads/{upload_id}", write),
        ("commit", "POST", "runs/{run_id}/uploads/{upload_id}", write),
        ("abandon", "DELETE", "runs/{run_id}/uploads/{upload_id}", write),
    )
    yield from of(
        "models",
        ("create", "POST", "models", write),
        ("search", "POST", "search/models", read),
        ("register", "POST", "models/{name}/versions", write),
        ("refer", "POST", "models/{name}/references", write),
        ("versions", "POST", "search/versions", read),
        ("get", "GET", "models/{name}", read),
        ("update", "PATCH", "models/{name}", write),
        ("delete", "DELETE", "models/{name}", write),
        ("restrict", "POST", "models/{name}/restricted", write),
        ("transfer", "POST", "models/{name}/owner", write),
        ("set_tags", "PATCH", "models/{name}/tags", write),
        ("delete_tag", "DELETE", "models/{name}/tags", write),
        ("resolve", "GET", "models/{name}/resolve", read),
        ("version", "GET", "models/{name}/versions/{version}", read),
        ("update_version", "PATCH", "models/{name}/versions/{version}", write),
        ("delete_version", "DELETE", "models/{name}/versions/{version}", write),
        ("files", "GET", "models/{name}/versions/{version}/files", read),
        ("stat", "GET", "models/{name}/versions/{version}/file", read),
        ("set_alias", "POST", "models/{name}/aliases", write),
        ("delete_alias", "DELETE", "models/{name}/aliases", write),
        ("alias_history", "GET", "models/{name}/aliases", read),
        ("consume", "POST", "models/{name}/versions/{version}/consumers", read),
        ("consumers", "GET", "models/{name}/consumers", read),
        ("card", "GET", "models/{name}/versions/{version}/card", read),
        ("set_card", "POST", "models/{name}/versions/{version}/card", write),
    )
    promote = Scope.PROMOTE
    yield from of(
        "promotions",
        ("request", "POST", "promotions", write),
        ("search", "POST", "search/promotions", read),
        ("history", "GET", "promotions/history", read),
        ("standing", "GET", "promotions/standing", read),
        ("waiting", "GET", "promotions/waiting", read),
        ("rollback", "POST", "promotions/rollback", write),
        ("override", "POST", "promotions/override", admin),
        ("get", "GET", "promotions/{request_id}", read),
        ("evidence", "GET", "promotions/{request_id}/evidence", read),
        ("comment", "POST", "promotions/{request_id}/comments", write),
        ("refresh", "POST", "promotions/{request_id}/refresh", write),
        ("withdraw", "POST", "promotions/{request_id}/withdraw", write),
        ("approve", "POST", "promotions/{request_id}/approve", promote),
        ("reject", "POST", "promotions/{request_id}/reject", promote),
        ("request_changes", "POST", "promotions/{request_id}/changes", promote),
    )
    yield from of(
        "policies",
        ("get", "GET", "policies", read),
        ("set", "POST", "policies", promote),
        ("history", "GET", "policies/history", read),
    )
    yield from of(
        "checks",
        ("claim", "POST", "checks/claim", admin),
        ("renew", "POST", "checks/{job_id}/renew", admin),
        ("report", "POST", "checks/{job_id}/report", admin),
        ("self_report", "POST", "promotions/{request_id}/checks", write),
    )
    yield from of("datasets", ("uses", "GET", "datasets/uses", read), ("search", "POST", "search/datasets", read))
    yield from of(
        "webhooks",
        ("create", "POST", "webhooks", write),
        ("list", "GET", "webhooks", write),
        ("delete", "DELETE", "webhooks/{webhook_id}", write),
        ("deliveries", "GET", "webhooks/{webhook_id}/deliveries", write),
    )
    yield from of(
        "logged_models",
        ("create", "POST", "logged-models", write),
        ("search", "POST", "search/logged-models", read),
        ("get", "GET", "logged-models/{model_id}", read),
        ("finish", "POST", "logged-models/{model_id}/status", write),
        ("log_params", "POST", "logged-models/{model_id}/params", write),
        ("set_tags", "PATCH", "logged-models/{model_id}/tags", write),
        ("delete_tag", "DELETE", "logged-models/{model_id}/tags", write),
        ("delete", "DELETE", "logged-models/{model_id}", write),
        ("use", "POST", "runs/{run_id}/models", write),
        ("uses", "POST", "search/model-uses", read),
    )
    yield from of(
        "quotas",
        ("standing", "GET", "quotas", read),
        ("rules", "GET", "quotas/rules", admin),
        ("set", "POST", "quotas", admin),
        ("recount", "POST", "quotas/recount", admin),
    )
    yield from of(
        "retention",
        ("rules", "GET", "retention", read),
        ("set", "POST", "retention", admin),
        ("preview", "GET", "retention/preview", read),
        ("apply", "POST", "retention/apply", admin),
    )
    yield from of(
        "people",
        ("offboard", "POST", "people/offboard", admin),
        ("rename", "POST", "people/rename", admin),
    )
    yield from of(
        "access_tokens",
        ("create", "POST", "access-tokens", write),
        ("list", "GET", "access-tokens", write),
        ("revoke", "DELETE", "access-tokens/{token_id}", write),
    )
    yield from of(
        "",
        ("compare", "POST", "compare", read),
        ("compare_notebooks", "GET", "compare/notebooks", read),
        ("audit", "GET", "audit", read),
        ("audit_head", "POST", "audit/head", admin),
        ("audit_verify", "POST", "audit/verify", admin),
        ("issue_token", "POST", "tokens", write),
        ("revoke_token", "POST", "tokens/revoke", write),
        ("audit_export", "GET", "audit/export", admin),
        ("gc", "POST", "gc", admin),
    )


def operation(id: str) -> Operation:
    """The operation of an id."""
    return next(each for each in OPERATIONS if each.id == id)


OPERATIONS: tuple[Operation, ...] = tuple(_declared())
"""All of them; of paths that match the same URL, the first counts. Searches are sent in bodies: filters may be longer
than what proxies let pass as a URL."""
