"""What happens in the store, as it happens, and who may learn of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jupyter_mlops.core.access import Principal, Scope, sees_model
from jupyter_mlops.core.records import Happening, Run
from jupyter_mlops.store import runs, shares
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.tail import EventTail
from jupyter_mlops.tracker.embedded._context import Context, OpenStore


class News(msgspec.Struct, frozen=True):
    """An event, and how the run that it is about stands."""

    number: int
    event: Event
    run: Run | None


class Feed:
    """Everything that happens from now on. :meth:`read` is for one thread at a time; what it gives is for nobody's eyes
    before :meth:`visible`."""

    def __init__(self, store: OpenStore) -> None:
        self._store = store
        with store.database.read() as connection:
            self._tail = EventTail(connection)

    def read(self) -> list[News]:
        """What happened since the last time."""
        with self._store.database.read() as connection:
            told = self._tail.read(connection)
            changed = dict.fromkeys(each.event.target for each in told if each.event.kind.startswith("run."))
            known = {run.run_id: run for run in runs.load(connection, list(changed))} if changed else {}
        return [News(each.number, each.event, known.get(each.event.target)) for each in told]

    def visible(self, principal: Principal, news: Sequence[News]) -> list[Happening]:
        """What of ``news`` the principal may learn, by what is theirs and shared with them now."""
        experiments = list({each.event.experiment_id for each in news if each.event.experiment_id is not None})
        with self._store.database.read() as connection:
            reach = Context(self._store, principal).reach
            reached = shares.reached_among(connection, experiments, reach) if experiments else frozenset()

        def may_know(event: Event) -> bool:
            if event.addressee not in (None, principal.name, principal.person):
                return False
            if event.experiment_id is not None:
                # Whose it was when it was handed over, or went for good, learns that; of its runs they learn no more.
                had = event.kind == "experiment.changed" and principal.scope_on(event.owner) >= Scope.READ
                return had or event.experiment_id in reached
            return sees_model(principal, event.owner, event.restricted)

        return [
            Happening(
                number=each.number,
                kind=each.event.kind,
                owner=each.event.owner,
                target=each.event.target,
                at=each.event.at,
                experiment_id=each.event.experiment_id,
                detail=each.event.detail,
                run=each.run,
            )
            for each in news
            if may_know(each.event)
        ]
