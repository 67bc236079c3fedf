"""What waits for one person: requests that they may decide about, and comments in which they are asked for."""

from __future__ import annotations

from jupyter_mlops.core import access
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.promotion import Mention, Waiting, unanswered, waits_for
from jupyter_mlops.store import promotions
from jupyter_mlops.tracker.embedded import deciding
from jupyter_mlops.tracker.embedded._context import Context

MOST_LOOKED_AT = 200
"""How many open requests are looked at, the newest."""


def waiting(context: Context) -> Waiting:
    """See :meth:`jupyter_mlops.tracker.promoting.Promotions.waiting`."""
    principal = context.principal
    owners = access.owners_reached(principal, Scope.PROMOTE)
    known = deciding.known_by(principal)
    with context.read() as connection:
        now = deciding.latest_time(context, connection)
        limit = MOST_LOOKED_AT + 1
        decidable = promotions.open_for(connection, owners, now, limit) if owners != () else []
        mentioning = promotions.open_mentioning(connection, principal.person, context.reach, now, limit)
        more = max(len(decidable), len(mentioning)) > MOST_LOOKED_AT
        decidable, mentioning = decidable[:MOST_LOOKED_AT], mentioning[:MOST_LOOKED_AT]
        ids = sorted({*decidable, *mentioning}, reverse=True)
        if not ids:
            return Waiting(more=more)
        models = promotions.models_of(connection, ids)
        requests = [(models[each.request_id], each) for each in promotions.load(connection, ids)]
        judged_by = deciding.judging(connection, requests)
        mine = [
            found
            for found, policies in zip(requests, judged_by, strict=True)
            if found[1].request_id in decidable and waits_for(found[1], policies, known)
        ]
        decide = deciding.all_with_missing(connection, mine, now)
    mentions = [
        Mention(
            request_id=request.request_id,
            model=model.name,
            alias=request.alias,
            version=request.version,
            user=comment.user,
            text=comment.text,
            at=comment.at,
        )
        for model, request in requests
        if request.request_id in mentioning
        for comment in unanswered(request, principal.person)
    ]
    mentions.sort(key=lambda each: each.at, reverse=True)
    return Waiting(decide=tuple(decide), mentions=tuple(mentions), more=more)
