"""Live events that are for one person: who is mentioned, and who loads what moves."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running
from tests.service.test_live import SECONDS, listen

GROWTH = frozenset({"growth"})
PERSONAL = ("promotion.mentioned", "consumed.moved")


def open_as(service: Running, principal: Principal) -> RemoteTracker:
    return RemoteTracker(service.url, service.token_of(principal))


async def until(socket: Any, target: str) -> list[dict[str, Any]]:
    """The events up to the first one about ``target``."""
    found: list[dict[str, Any]] = []
    while not any(each["target"] == target for each in found):
        message = await asyncio.wait_for(socket.read_message(), SECONDS)
        assert isinstance(message, str), "the connection was closed"
        found += json.loads(message)
    return found


def test_what_concerns_one_person_is_told_to_them_alone_while_they_see_the_model(service: Running) -> None:
    lead = Principal("lee", GROWTH, Scope.ADMIN)
    lees = open_as(service, lead)
    eves, bobs = Principal("eve", frozenset({"sales"})), Principal("bob", GROWTH)

    def say(text: str) -> None:
        lees.promotions.comment(request.request_id, text)

    run = lees.runs.create(NewRun(experiment_id=lees.experiments.create("team", owner="group:growth").experiment_id))
    lees.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
    lees.models.register("churn", run.run_id, "model")
    request = open_as(service, bobs).promotions.request("churn", 1)
    open_as(service, eves).models.consume("churn", 1, reference="@production", purpose="scoring")

    async def watch() -> None:
        sockets = [await listen(service, service.token_of(each)) for each in (eves, bobs)]
        await asyncio.to_thread(say, "@eve, this is what you will get")
        await asyncio.to_thread(lambda: lees.promotions.override("churn", "production", version=1, reason="now"))
        await asyncio.to_thread(lees.models.restrict, "churn", True)
        await asyncio.to_thread(say, "@eve @bob")
        await asyncio.to_thread(lees.models.create, "last")
        heard = [await until(socket, "last") for socket in sockets]
        eve, bob = ([each for each in events if each["kind"] in PERSONAL] for events in heard)
        assert [each["kind"] for each in eve] == ["promotion.mentioned", "consumed.moved"]
        assert eve[0]["detail"] == {
            "request_id": request.request_id,
            "alias": "production",
            "text": "@eve, this is what you will get",
            "user": "lee",
            "for": "eve",
        }
        assert (eve[1]["detail"]["version"], eve[1]["detail"]["reason"]) == (1, "now")
        assert [(each["kind"], each["detail"]["for"]) for each in bob] == [("promotion.mentioned", "bob")]
        for socket in sockets:
            socket.close()

    asyncio.run(watch())
