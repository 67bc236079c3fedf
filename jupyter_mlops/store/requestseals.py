"""Digests of requests for promotion, so that the permanent record covers what is not append-only.

A request's row and its checks change as it goes on. Each change writes an entry into ``audit``, which is sealed, with
digests of the request as it stands then: whoever changes a request past the tracker leaves it unlike its last entry,
and who makes up an entry for that cannot make up one that fits what was sealed before.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.core.records import Json
from jupyter_mlops.store import schema, schema_promotion

KEY = "sealed"
"""Where the digests are in the detail of an entry."""

_promotion = schema_promotion.promotion.c
_review = schema_promotion.promotion_review.c
_job = schema_promotion.check_job.c
_audit = schema.audit.c

# A comment may come after the end, and is sealed by itself.
_CHANGING = {"state", "champion", "champion_digest", "round", "closed", "closed_by", "outcome", "move_id", "updated"}
_ASKED = [str(column.name) for column in schema_promotion.promotion.columns if column.name not in _CHANGING]
_WHOLE = [str(column.name) for column in schema_promotion.promotion.columns if column.name != "updated"]
_PAGE = 500


class Digests(msgspec.Struct, frozen=True):
    """Of a request as it stands. SHA-256, hex."""

    state: str
    asked: str
    """Over what was asked for, by whom, under which policy: it never changes."""
    whole: str
    """Over all but comments."""
    results: dict[str, str]
    """Over what each check found out, by the id of its job: none is taken back."""


def digests(connection: Connection, ids: Sequence[str]) -> dict[str, Digests]:
    """The digests of requests, by their ids; without those that do not exist."""
    reviews: defaultdict[str, list[Any]] = defaultdict(list)
    query = sa.select(schema_promotion.promotion_review).where(_review.promotion_id.in_(ids)).order_by(_review.id)
    for row in connection.execute(query):
        reviews[row.promotion_id].append(list(row))
    jobs: defaultdict[str, list[Any]] = defaultdict(list)
    results: defaultdict[str, dict[str, str]] = defaultdict(dict)
    what = (_job.promotion_id, _job.id, _job.name, _job.settings_json, _job.round, _job.result_json)
    for row in connection.execute(sa.select(*what).where(_job.promotion_id.in_(ids)).order_by(_job.id)):
        jobs[row.promotion_id].append(list(row))
        if row.result_json is not None:
            results[row.promotion_id][row.id] = _digest(row.result_json)
    return {
        row["id"]: Digests(
            state=row["state"],
            asked=_digest([[name, row[name]] for name in _ASKED]),
            whole=_digest([[[name, row[name]] for name in _WHOLE], reviews[row["id"]], jobs[row["id"]]]),
            results=results[row["id"]],
        )
        for row in connection.execute(sa.select(schema_promotion.promotion).where(_promotion.id.in_(ids))).mappings()
    }


def entry(connection: Connection, request_id: str, job_id: str | None) -> dict[str, Json]:
    """What an entry of ``audit`` keeps of a request that was changed; ``job_id`` is of the check that was done."""
    found = digests(connection, [request_id])[request_id]
    kept: dict[str, Json] = {"state": found.state, "asked": found.asked, "whole": found.whole}
    return {KEY: kept | ({"result": [job_id, found.results[job_id]]} if job_id is not None else {})}


class _Told(msgspec.Struct):
    """What the record tells of one request."""

    number: int = 0
    """Of the last entry."""
    asked: str = ""
    whole: str = ""
    closed: int | None = None
    """The entry with which it was closed."""
    results: dict[str, str] = msgspec.field(default_factory=dict)


def problems(connection: Connection, most: int) -> list[str]:
    """Where requests are not what the record tells of them, a sentence each."""
    found: list[str] = []
    told: dict[str, _Told] = {}
    query = (
        sa.select(_audit.number, _audit.detail_json).where(_audit.action.like("promotion.%")).order_by(_audit.number)
    )
    for number, text in connection.execute(query):
        detail = None if text is None else msgspec.json.decode(text)
        if isinstance(detail, dict) and isinstance(detail.get("request_id"), str):
            found += _read(told.setdefault(detail["request_id"], _Told()), number, detail)
    ids = list(connection.execute(sa.select(_promotion.id).order_by(_promotion.id)).scalars())
    found += [f"request {id} is not on record: it was added past the service" for id in ids if id not in told]
    for start in range(0, len(ids), _PAGE):
        present = digests(connection, ids[start : start + _PAGE])
        found += [
            f"request {id} {problem}"
            for id, each in present.items()
            if id in told and (problem := _difference(told[id], each)) is not None
        ]
        if len(found) >= most:
            break
    there = set(ids)
    found += [
        f"request {id}, which entry {each.number} of audit is about, is gone"
        for id, each in told.items()
        if id not in there
    ]
    return found[:most]


def _read(told: _Told, number: int, detail: Mapping[str, Any]) -> list[str]:
    """Take note of an entry; gives how it contradicts those before it."""
    told.number = number
    sealed = detail.get(KEY)
    if not isinstance(sealed, dict):
        # Written before entries had digests.
        return []
    problems = []
    about = f"entry {number} of audit: request {detail['request_id']}"
    if told.asked not in ("", sealed["asked"]):
        problems.append(f"{about} asks for something else than before")
    if told.closed is not None and told.whole != sealed["whole"]:
        problems.append(f"{about} was closed by entry {told.closed} and changed since")
    if "result" in sealed:
        job_id, digest = sealed["result"]
        if told.results.setdefault(job_id, digest) != digest:
            problems.append(f"{about} has another result of check {job_id} than before")
    told.asked, told.whole = sealed["asked"], sealed["whole"]
    if told.closed is None and sealed["state"] != PromotionState.OPEN.value:
        told.closed = number
    return problems


def _difference(told: _Told, now: Digests) -> str | None:
    if not told.whole or (told.whole == now.whole and told.results == now.results):
        return None
    if told.asked != now.asked:
        part = "what was asked for"
    elif told.results != now.results:
        part = "what its checks found out"
    else:
        part = "its state, its reviews or its checks"
    return f"is not what entry {told.number} of audit says: {part} was changed past the service"


def _digest(content: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()
