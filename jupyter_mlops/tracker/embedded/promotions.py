"""Requests, reviews and decisions; rollbacks and overrides. Each change locks the model that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound
from jupyter_mlops.core.formats import abridged
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.promotion import (
    AliasPeriod,
    AliasStanding,
    Promotion,
    PromotionEvidence,
    PromotionKind,
    PromotionState,
    Review,
    ReviewComment,
    ReviewVerdict,
    Waiting,
    mentions,
)
from jupyter_mlops.core.records import Page
from jupyter_mlops.core.values import short
from jupyter_mlops.store import checkjobs, promotions, registry
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases, asking, deciding, deletedmodels, permits
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE, LARGEST_PAGE

LONGEST_TOLD = 500
"""Characters of a comment that who is mentioned in it is told at once."""
MOST_MENTIONED = 20
"""How many of those whom a comment mentions are told."""


@checked
class EmbeddedPromotions:
    """See :class:`jupyter_mlops.tracker.promoting.Promotions`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    # --- asking ---

    def request(self, model: str, version: int, *, alias: str = "production", reason: str = "") -> Promotion:
        values.alias_name(alias)
        values.reason(reason)
        members = asking.approving_groups(self._context, model)
        with self._context.write() as connection:
            target = self._context.model_allowed(connection, model, Scope.WRITE, lock=True)
            asking.require_person(self._context.principal)
            deciding.expire(self._context, connection, target)
            new, candidate_id = asking.new_request(self._context, connection, target, alias, version, reason)
            if new.alias not in new.policy.protected:
                return self._unprotected(connection, target, new, candidate_id)
            if (same := self._standing(connection, target, new)) is not None:
                return deciding.with_missing(connection, target, same, new.created)
            asking.require_possible(new, members)
            promotions.insert(connection, target.id, new)
            checkjobs.enqueue(connection, new.request_id, new.round, new.policy.checks)
            deciding.tell(self._context, connection, target, new, "promotion.requested", version=version)
            return self._present(connection, target, new.request_id)

    def refresh(self, request_id: str) -> Promotion:
        with self._permitted(request_id, permits.require_refresh) as (connection, model, request):
            now = deciding.latest_time(self._context, connection)
            champion = asking.champion_of(connection, model, request.alias)
            promotions.cancel(connection, request_id)
            promotions.update(
                *(connection, request_id, now),
                round=request.round + 1,
                champion=None if champion is None else champion.version,
                champion_digest=None if champion is None else champion.digest,
            )
            rules = deciding.rules_for(connection, model, request)
            checkjobs.enqueue(connection, request_id, request.round + 1, rules)
            deciding.tell(self._context, connection, model, request, "promotion.refreshed", round=request.round + 1)
            return self._present(connection, model, request_id)

    def withdraw(self, request_id: str, *, reason: str = "") -> Promotion:
        values.reason(reason)
        with self._permitted(request_id, permits.require_withdrawal) as (connection, model, request):
            return self._close(connection, model, request, PromotionState.WITHDRAWN, reason)

    def comment(self, request_id: str, text: str) -> Promotion:
        values.comment_text(text)
        with self._locked(request_id, Scope.WRITE) as (connection, model, request):
            now = deciding.latest_time(self._context, connection)
            user = self._context.principal.name
            comment = ReviewComment(user=user, text=text, mentions=mentions(text), at=now)
            promotions.add_comment(connection, request_id, comment)
            promotions.update(connection, request_id, now)
            deciding.tell(
                self._context, connection, model, request, "promotion.commented", mentions=list(comment.mentions)
            )
            told = {"request_id": request_id, "alias": request.alias, "text": abridged(text, LONGEST_TOLD)}
            whom = [each for each in comment.mentions if each != user][:MOST_MENTIONED]
            aliases.tell_persons(self._context, connection, "promotion.mentioned", model, whom, told)
            return self._present(connection, model, request_id)

    # --- reading ---

    def get(self, request_id: str) -> Promotion:
        with self._context.read() as connection:
            if is_id(request_id) and deletedmodels.shows_request(self._context, connection, request_id):
                return promotions.load(connection, [request_id])[0]
            model, request = self._found(connection, request_id, Scope.READ)
            now = deciding.latest_time(self._context, connection)
            shown = deciding.with_missing(connection, model, request, now)
        self._keep_expired([shown], [request])
        return shown

    def search(
        self,
        *,
        model: str | None = None,
        alias: str | None = None,
        state: PromotionState | str | None = None,
        requester: str | None = None,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[Promotion]:
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidValue(f"limit: {limit} is out of range; 1 to {LARGEST_PAGE} are possible")
        wanted = None if state is None else _state(state)
        with self._context.read() as connection:
            page = promotions.search(
                *(connection, self._context.reach),
                model=model,
                alias=alias,
                state=wanted,
                requester=requester,
                limit=limit,
                page_token=page_token,
            )
            now = deciding.latest_time(self._context, connection)
            models = promotions.models_of(connection, page.items)
            requests = [(models[each.request_id], each) for each in promotions.load(connection, page.items)]
            found = deciding.all_with_missing(connection, requests, now)
        self._keep_expired(found, [request for _, request in requests])
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def waiting(self) -> Waiting:
        from jupyter_mlops.tracker.embedded.waiting import waiting

        return waiting(self._context)

    def evidence(self, request_id: str) -> PromotionEvidence:
        from jupyter_mlops.tracker.embedded.promotionevidence import evidence

        with self._context.read() as connection:
            model, request = self._found(connection, request_id, Scope.READ)
            policy = aliases.policy_of(connection, model)
            refused = permits.refused(self._context, connection, model, request)
        return evidence(self._context, self.get(request_id), model, policy, refused)

    def standing(self, model: str, *, alias: str = "production", version: int | None = None) -> AliasStanding:
        return permits.standing(self._context, model, alias, version)

    def history(
        self, model: str, alias: str | None = None, *, at: int | None = None, deleted: bool = False
    ) -> tuple[AliasPeriod, ...]:
        from jupyter_mlops.tracker.embedded.aliashistory import history

        return history(self._context, model, alias, at, deleted)

    # --- deciding ---

    def approve(self, request_id: str, *, reason: str = "", round: int | None = None) -> Promotion:
        values.reason(reason)
        with self._permitted(request_id, permits.require_approval) as (connection, model, request):
            if round is not None and round != request.round:
                raise Conflict(f"request {request_id} was refreshed since: look at it again")
            self._add_review(connection, model, request, ReviewVerdict.APPROVED, reason)
            approved = promotions.load(connection, [request_id])[0]
            deciding.settle(self._context, connection, model, approved, self._context.principal.name)
            return self._present(connection, model, request_id)

    def reject(self, request_id: str, *, reason: str) -> Promotion:
        _require_reason(reason, ReviewVerdict.REJECTED.value)
        with self._permitted(request_id, permits.require_review) as (connection, model, request):
            self._add_review(connection, model, request, ReviewVerdict.REJECTED, reason)
            return self._close(connection, model, request, PromotionState.REJECTED, reason)

    def request_changes(self, request_id: str, *, reason: str) -> Promotion:
        _require_reason(reason, ReviewVerdict.CHANGES_REQUESTED.value)
        with self._permitted(request_id, permits.require_review) as (connection, model, request):
            self._add_review(connection, model, request, ReviewVerdict.CHANGES_REQUESTED, reason)
            return self._present(connection, model, request_id)

    def rollback(self, model: str, alias: str, *, reason: str, to: int | None = None) -> Promotion:
        _require_reason(reason, "a rollback")
        with self._context.write() as connection:
            target = self._context.model_allowed(connection, model, Scope.WRITE, lock=True)
            permits.require_rollback(self._context, connection, target, alias)
            before = permits.version_before(connection, target, alias)
            if to is not None and to != before:
                raise Conflict(
                    f"{model}@{alias} goes back to version {before}, not {to}: it was moved just now; look again"
                )
            return self._move(connection, target, PromotionKind.ROLLBACK, alias, before, reason)

    def override(self, model: str, alias: str, *, version: int | None, reason: str) -> Promotion:
        values.alias_name(alias)
        _require_reason(reason, "an override")
        with self._context.write() as connection:
            target = self._context.model_allowed(connection, model, Scope.ADMIN, lock=True)
            permits.require_override(self._context, connection, target)
            return self._move(connection, target, PromotionKind.OVERRIDE, alias, version, reason)

    # --- shared ---

    def _unprotected(self, connection: Connection, model: Model, new: Promotion, candidate_id: str | None) -> Promotion:
        """An alias that nobody protects just moves."""
        asking.require_another(new)
        return self._moved(connection, model, new, candidate_id, "the alias is not protected")

    def _move(
        self, connection: Connection, model: Model, kind: PromotionKind, alias: str, version: int | None, reason: str
    ) -> Promotion:
        """Move an alias by a rollback or an override."""
        new, candidate_id = asking.new_request(self._context, connection, model, alias, version, reason)
        asking.require_another(new)
        return self._moved(connection, model, msgspec.structs.replace(new, kind=kind), candidate_id, kind.value)

    def _moved(
        self, connection: Connection, model: Model, new: Promotion, candidate_id: str | None, outcome: str
    ) -> Promotion:
        user = self._context.principal.name
        after = None if candidate_id is None or new.version is None else (candidate_id, new.version)
        before = registry.alias_target(connection, model.id, new.alias)
        number = aliases.move(
            self._context, connection, model, new.alias, after=after, before=before, reason=new.reason
        )
        done = msgspec.structs.replace(
            new,
            state=PromotionState.PROMOTED,
            expires=new.created,
            closed=new.created,
            closed_by=user,
            outcome=outcome,
        )
        promotions.insert(connection, model.id, done, number)
        kinds = {
            PromotionKind.REQUEST: "promotion.promoted",
            PromotionKind.ROLLBACK: "promotion.rolled_back",
            PromotionKind.OVERRIDE: "promotion.overridden",
        }
        deciding.tell(self._context, connection, model, done, kinds[new.kind], version=new.version, reason=new.reason)
        return done

    def _standing(self, connection: Connection, model: Model, new: Promotion) -> Promotion | None:
        """The open request for the same, if the same person has asked for it; their requests for other versions are
        superseded."""
        mine = [
            request
            for request in promotions.load(connection, promotions.open_ids(connection, model.id, new.alias))
            if request.requester == new.requester
        ]
        for request in mine:
            if request.version == new.version:
                return request
            outcome = f"{new.requester} asks for version {new.version} instead"
            self._close(connection, model, request, PromotionState.SUPERSEDED, outcome)
        return None

    def _add_review(
        self, connection: Connection, model: Model, request: Promotion, verdict: ReviewVerdict, reason: str
    ) -> None:
        now = deciding.latest_time(self._context, connection)
        owners = deciding.known_by(self._context.principal)
        review = Review(user=owners[0], owners=owners[1:], verdict=verdict, reason=reason, at=now, round=request.round)
        promotions.add_review(connection, request.request_id, review)
        promotions.update(connection, request.request_id, now)
        deciding.tell(
            self._context, connection, model, request, "promotion.reviewed", verdict=verdict.value, reason=reason
        )

    def _close(
        self, connection: Connection, model: Model, request: Promotion, state: PromotionState, outcome: str
    ) -> Promotion:
        now, user = deciding.latest_time(self._context, connection), self._context.principal.name
        promotions.close(connection, request.request_id, state, now, by=user, outcome=outcome)
        deciding.tell(self._context, connection, model, request, f"promotion.{state.value}", reason=outcome)
        return self._present(connection, model, request.request_id)

    def _present(self, connection: Connection, model: Model, request_id: str) -> Promotion:
        now = deciding.latest_time(self._context, connection)
        return deciding.with_missing(connection, model, promotions.load(connection, [request_id])[0], now)

    @contextmanager
    def _locked(self, request_id: str, scope: Scope) -> Iterator[tuple[Connection, Model, Promotion]]:
        """A request whose model is locked."""
        with self._context.write() as connection:
            model, _ = self._found(connection, request_id, scope, lock=True)
            yield connection, model, promotions.load(connection, [request_id])[0]

    @contextmanager
    def _permitted(
        self, request_id: str, require: Callable[[Context, Connection, Model, Promotion], None]
    ) -> Iterator[tuple[Connection, Model, Promotion]]:
        """A request whose model is locked, with which the caller may do what ``require`` asks for."""
        with self._locked(request_id, Scope.READ) as (connection, model, request):
            if not deciding.is_over(self._context, connection, request):
                require(self._context, connection, model, request)
                yield connection, model, request
                return
            # That it was found to be over is kept, whatever is refused for it.
            deciding.expire(self._context, connection, model)
        with self._locked(request_id, Scope.READ) as (connection, model, request):
            require(self._context, connection, model, request)
            yield connection, model, request

    def _keep_expired(self, shown: Sequence[Promotion], stored: Sequence[Promotion]) -> None:
        """Write down what was shown as expired: a clock that is set back afterwards must not revive it."""
        if any(one.state is not other.state for one, other in zip(shown, stored, strict=True)):
            deciding.end_requests(self._context)

    def _model(self, connection: Connection, request_id: str, *, lock: bool = False) -> Model:
        model_id = promotions.model_of(connection, request_id) if is_id(request_id) else None
        name = None if model_id is None else registry.name_of(connection, model_id)
        model = None if name is None else registry.find(connection, name, lock=lock)
        if model is None or model.id != model_id:
            raise _no_request(request_id)
        return model

    def _found(
        self, connection: Connection, request_id: str, scope: Scope, *, lock: bool = False
    ) -> tuple[Model, Promotion]:
        model = self._model(connection, request_id, lock=lock)
        if not access.sees_model(self._context.principal, model.owner, model.restricted):
            raise _no_request(request_id)
        request = promotions.load(connection, [request_id])[0]
        permits.require(self._context, model, request, scope)
        return model, request


def _require_reason(reason: str, what: str) -> None:
    values.reason(reason)
    if not reason.strip():
        raise InvalidValue(f"reason: {what} needs one")


def _no_request(request_id: str) -> NotFound:
    return NotFound(f"request {request_id if is_id(request_id) else short(request_id)} does not exist")


def _state(state: PromotionState | str) -> PromotionState:
    try:
        return PromotionState(state)
    except ValueError:
        known = ", ".join(each.value for each in PromotionState)
        raise InvalidValue(f"state: {short(state)} is none; {known} are") from None
