"""What aliases pointed at, when, and why."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.promotion import AliasPeriod
from jupyter_mlops.store import promotions, registry
from jupyter_mlops.tracker.embedded import deletedmodels
from jupyter_mlops.tracker.embedded._context import Context


def history(context: Context, model: str, alias: str | None, at: int | None, deleted: bool) -> tuple[AliasPeriod, ...]:
    """See :meth:`jupyter_mlops.tracker.promoting.Promotions.history`."""
    with context.read() as connection:
        if not deleted and registry.find(connection, model) is not None:
            ids = [context.model_allowed(connection, model, Scope.READ).id]
        elif not (ids := deletedmodels.visible(context, connection, model)):
            # As for one that never was, or is another's.
            context.model_allowed(connection, model, Scope.READ)
            raise NotFound(f"no model that was called {model!r} and had aliases was deleted")
        return tuple(period for id in ids for period in _periods(connection, id, alias, at))


def _periods(connection: Connection, model_id: str, alias: str | None, at: int | None) -> list[AliasPeriod]:
    moves = registry.numbered_moves(connection, model_id, alias)
    requests = promotions.by_move(connection, model_id)
    loaded = {each.request_id: each for each in promotions.load(connection, list(requests.values()))}
    periods = []
    until: dict[str, int] = {}
    for number, move in reversed(moves):
        request = loaded.get(requests.get(number, ""))
        period = AliasPeriod(move=move, until=until.get(move.alias), promotion=request)
        # Of two moves at the same moment the later one counts.
        until[move.alias] = move.at
        if at is None or (move.at <= at and (period.until is None or at < period.until)):
            periods.append(period)
    return periods[::-1]
