"""Messages of webhooks reach real receivers: at least once, in order for each model, signed, and nowhere else."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.addresses import networks
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.core.webhooks import ATTEMPTS, DeliveryState, delay_ms, verify_signature
from jupyter_mlops.service import delivery
from jupyter_mlops.service.delivery import Couriers
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.service.tokens import Grant, TokenFile, create_token
from jupyter_mlops.store import migrate
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore
from jupyter_mlops.tracker.embedded.webhooks import CLAIM_MS
from jupyter_mlops.tracker.remote import RemoteTracker
from tests import postgres
from tests.hub.standalone import COMMAND, started, token
from tests.service.authority import Authority
from tests.service.receivers import Received, receiver
from tests.service.test_mail import postbox
from tests.waiting import until

LOOPBACK = networks(["127.0.0.1"])
MLMODEL = b"flavors: {python_function: {loader_module: x}}"


class Clock:
    """Milliseconds; goes on only when told to."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.now


class Replica:
    """A service's loop over a store; no server is needed for that."""

    def __init__(self, database: Database, folder: Path, clock: Clock) -> None:
        self.tracker = EmbeddedTracker(
            OpenStore(database, str(folder / "artifacts"), clock), Principal("ann", scope=Scope.ADMIN)
        )
        self.executor = ThreadPoolExecutor(4)
        tokens = folder / "tokens.json"
        create_token(tokens, Grant(user="ann"))
        self.service = Service(self.tracker, TokenFile(tokens), self.executor)


class House:
    def __init__(self, url: str, folder: Path) -> None:
        self.clock = Clock()
        self.databases = [Database(url), Database(url)]
        self.replicas = [Replica(each, folder, self.clock) for each in self.databases]
        self.tracker = self.replicas[0].tracker

    def model(self, name: str) -> None:
        experiment = self.tracker.experiments.ensure("models")
        run = self.tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        self.tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
        self.tracker.models.register(name, run.run_id, "model")

    def move(self, name: str, alias: str, reason: str = "") -> None:
        self.tracker.models.set_alias(name, alias, 1, reason=reason)

    def deliver(self, *, replicas: int = 1, allowed: Any = LOOPBACK) -> None:
        """Send what is due now, until nothing is."""

        async def one(replica: Replica) -> None:
            couriers = Couriers(replica.service, allowed)
            while await couriers.dispatch() or couriers._sending:
                if couriers._sending:
                    await asyncio.wait(couriers._sending)

        async def every() -> None:
            await asyncio.gather(*(one(replica) for replica in self.replicas[:replicas]))

        asyncio.run(every())

    def close(self) -> None:
        for replica, database in zip(self.replicas, self.databases, strict=True):
            replica.executor.shutdown()
            database.close()


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(database_url, tmp_path)
    yield house
    house.close()


def test_a_message_says_what_happened_and_is_signed(house: House) -> None:
    with receiver() as there:
        house.model("churn")
        hook = house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"])
        house.tracker.models.consume("churn", 1, reference="@production", purpose="scoring")
        house.move("churn", "production", "better")
        house.deliver()
    [got] = there.received
    assert got.json["type"] == "alias.moved"
    assert (got.json["model"], got.json["user"], got.json["owner"]) == ("churn", "ann", "ann")
    assert got.json["data"] == {
        "alias": "production",
        "version": 1,
        "replaced": None,
        "reason": "better",
        "consumers": ["ann"],
    }
    assert hook.secret is not None
    now = house.clock.now / 1000
    assert verify_signature(hook.secret, got.headers, got.body, now=now)
    assert not verify_signature(hook.secret, got.headers, got.body + b" ", now=now)
    assert not verify_signature(hook.secret, got.headers, got.body, now=now + 301)
    assert not verify_signature(hook.secret, got.headers | {"webhook-id": "msg_other"}, got.body, now=now)
    [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert (known.state, known.status, known.attempts) == (DeliveryState.DELIVERED, 204, 1)


@pytest.mark.parametrize("template", ["slack", "teams"])
def test_texts_of_users_mention_nobody_and_are_no_links(house: House, template: str) -> None:
    with receiver() as there:
        house.model("churn")
        house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"], template=template)
        house.move("churn", "production", "<!channel> [free](http://evil)\nX: y")
        house.deliver()
    [got] = there.received
    text = json.dumps(got.json)
    assert "churn" in text
    assert "<!channel>" not in text
    if template == "slack":
        assert "&lt;!channel&gt;" in got.json["text"]
    else:
        block = got.json["attachments"][0]["content"]["body"][0]["text"]
        assert r"\[free\]\(http" in block
    assert "\\nX: y" not in got.body.decode().replace("\\\\n", "")


def test_each_model_is_told_of_in_order_whatever_fails_in_between(house: House) -> None:
    failures = Counter({"a": 2})

    def answer(request: Received) -> int:
        model = request.json["model"]
        failures[model] -= 1
        return 500 if failures[model] >= 0 else 200

    with receiver(answer) as there:
        for name in ("a", "b"):
            house.model(name)
        hook = house.tracker.webhooks.create(there.url, owner="ann", events=["alias.*"])
        for number in range(3):
            for name in ("a", "b"):
                house.move(name, f"x{number}")
        house.deliver()
        # Nothing of `a` passes what failed; `b` does not wait for it.
        assert [each.json["data"]["alias"] for each in there.of("b")] == ["x0", "x1", "x2"]
        assert [each.json["data"]["alias"] for each in there.of("a")] == ["x0"]
        waiting = house.tracker.webhooks.deliveries(hook.webhook_id)[-1]
        assert (waiting.state, waiting.status, waiting.attempts) == (DeliveryState.WAITING, 500, 1)
        assert waiting.next_attempt == house.clock.now + delay_ms(1)
        for attempt in (1, 2):
            house.clock.now += delay_ms(attempt)
            house.deliver()
        told = there.of("a")
    assert [each.json["data"]["alias"] for each in told] == ["x0", "x0", "x0", "x1", "x2"]
    assert len({each.headers["webhook-id"] for each in told[:3]}) == 1
    assert len({each.headers["webhook-signature"] for each in told[:3]}) == 3


def test_two_replicas_send_each_message_once(house: House) -> None:
    with receiver() as there:
        for name in "abcdef":
            house.model(name)
        house.tracker.webhooks.create(there.url, owner="ann", events=["alias.*"])
        for number in range(5):
            for name in "abcdef":
                house.move(name, f"x{number}")
        house.deliver(replicas=2)
        if len(there.received) < 30:
            # A replica that found nothing due while the other was sending has stopped looking.
            house.deliver(replicas=2)
    assert len(there.received) == 30
    for name in "abcdef":
        assert [each.json["data"]["alias"] for each in there.of(name)] == [f"x{number}" for number in range(5)]


def test_a_redirect_is_not_followed(house: House) -> None:
    with receiver() as inner, receiver(lambda _request: 307) as there:
        there.location = inner.url
        house.model("churn")
        hook = house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"])
        house.move("churn", "production")
        house.deliver()
        [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert inner.received == []
    assert (known.state, known.status) == (DeliveryState.WAITING, 307)
    assert "redirect" in known.error


def test_a_receiver_that_hangs_is_left_and_delays_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ATTEMPT_SECONDS", 1.0)
    with receiver() as slow, receiver() as there:
        slow.answer = slow.hang
        house.model("churn")
        hook = house.tracker.webhooks.create(slow.url, model="churn", events=["alias.*"])
        house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"])
        house.move("churn", "production")
        house.deliver()
        [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert len(there.received) == 1
    assert (known.state, known.status) == (DeliveryState.WAITING, None)
    assert "imeout" in known.error


def test_what_never_arrives_is_given_up_and_the_next_is_tried(house: House) -> None:
    with receiver(lambda request: 500 if request.json["data"]["alias"] == "x0" else 200) as there:
        house.model("churn")
        hook = house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"])
        for number in range(2):
            house.move("churn", f"x{number}")
        for attempt in range(1, ATTEMPTS + 1):
            house.deliver()
            house.clock.now += delay_ms(attempt)
        new, old = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert (old.state, old.attempts, old.next_attempt) == (DeliveryState.FAILED, ATTEMPTS, None)
    assert new.state is DeliveryState.DELIVERED


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "[::ffff:10.0.0.1]"])
def test_an_address_that_only_the_service_reaches_is_not_called(house: House, host: str) -> None:
    with receiver() as there:
        port = there.url.rpartition(":")[2]
        house.model("churn")
        hook = house.tracker.webhooks.create(f"http://{host}:{port}", model="churn", events=["alias.*"])
        house.move("churn", "production")
        house.deliver(allowed=())
        [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert there.received == []
    assert known.state is DeliveryState.WAITING
    assert "no public address" in known.error


def test_a_name_is_looked_up_once_and_refused_for_any_private_address(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of the receiver's that leads inside, also as one of several, or from the second answer on."""
    asked: list[str] = []
    answers: list[list[str]] = []
    real = socket.getaddrinfo

    def looked_up(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *arguments, **named)
        asked.append(host)
        addresses = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    with receiver() as there:
        port = there.url.rpartition(":")[2].partition("/")[0]
        house.model("churn")
        hook = house.tracker.webhooks.create(f"http://rebinding.example:{port}/", model="churn", events=["alias.*"])
        house.move("churn", "production")
        answers[:] = [["10.0.0.7"]]
        house.deliver()
        answers[:] = [["93.184.216.34", "10.0.0.7"]]
        house.clock.now += delay_ms(1)
        house.deliver()
        assert there.received == []
        assert "10.0.0.7" in house.tracker.webhooks.deliveries(hook.webhook_id)[0].error
        # The allowed one is what is connected to: nothing asks a second time.
        answers[:] = [["127.0.0.1"], ["10.0.0.7"]]
        house.clock.now += delay_ms(2)
        house.deliver()
        assert len(there.received) == 1
        assert there.received[0].headers["host"] == f"rebinding.example:{port}"
    assert len(asked) == 3
    assert len(answers) == 1


def test_a_claim_that_ran_out_is_taken_over_and_its_late_result_does_not_count(house: House) -> None:
    house.model("churn")
    hook = house.tracker.webhooks.create("http://receiver.example/", model="churn", events=["alias.*"])
    house.move("churn", "production")
    first, second = (replica.tracker.outgoing() for replica in house.replicas)
    [claimed] = first.claim(10)
    assert second.claim(10) == []
    house.clock.now += CLAIM_MS
    [again] = second.claim(10)
    assert again.message == claimed.message
    first.failed(claimed, 500, "late")
    [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert (known.attempts, known.error) == (2, "")
    second.delivered(again, 200)
    first.failed(claimed, 500, "later still")
    [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert known.state is DeliveryState.DELIVERED


def test_a_message_is_as_durable_as_what_it_tells(house: House) -> None:
    house.model("churn")
    hook = house.tracker.webhooks.create("http://receiver.example/", model="churn")
    with pytest.raises(InvalidValue):
        house.tracker.models.set_alias("churn", "production", 1, reason="\0")
    assert house.tracker.webhooks.deliveries(hook.webhook_id) == ()
    house.move("churn", "production")
    kinds = [each.kind for each in house.tracker.webhooks.deliveries(hook.webhook_id)]
    assert sorted(kinds) == ["alias.moved", "model.changed"]


_SENDER = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.addresses import networks
from jupyter_mlops.service.delivery import Couriers
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.service.tokens import TokenFile
from jupyter_mlops.tracker.connect import connect

tracker = connect(sys.argv[1], artifacts=sys.argv[2], principal=Principal("service", scope=Scope.ADMIN))
service = Service(tracker, TokenFile(Path(sys.argv[3])), ThreadPoolExecutor(4))
asyncio.run(Couriers(service, networks(["127.0.0.1"])).run())
"""


def test_a_service_that_is_killed_while_it_sends_is_followed(house: House, tmp_path: Path, database_url: str) -> None:
    with receiver() as there:
        there.answer = there.hang
        house.model("churn")
        hook = house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"])
        house.move("churn", "production")
        command = [sys.executable, "-c", _SENDER, database_url, str(tmp_path / "artifacts")]
        with subprocess.Popen([*command, str(tmp_path / "tokens.json")]) as process:
            until(lambda: there.received, "the message")
            os.kill(process.pid, signal.SIGKILL)
        [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
        assert (known.state, known.attempts) == (DeliveryState.WAITING, 1)
        there.answer = lambda _request: 200
        house.clock.now = time.time_ns() // 1_000_000 + CLAIM_MS
        house.deliver()
        [known] = house.tracker.webhooks.deliveries(hook.webhook_id)
    assert known.state is DeliveryState.DELIVERED
    assert len({each.headers["webhook-id"] for each in there.received}) == 1
    assert len(there.received) == 2


def test_the_loop_goes_on_after_an_outage_of_the_database(
    postgres_server: postgres.Server, postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Database(postgres_url)
    migrate.ensure_current(first, upgrade=False)
    first.close()
    house = House(postgres_url, tmp_path)
    with receiver() as there:
        house.model("churn")
        house.tracker.webhooks.create(there.url, model="churn", events=["alias.*"])
        house.move("churn", "production")
        postgres_server.allow_connections(postgres_url, False)

        async def until_sent() -> None:
            task = asyncio.create_task(Couriers(house.replicas[0].service, LOOPBACK).run())
            await asyncio.to_thread(until, lambda: "cannot be looked for" in caplog.text, "the outage")
            await asyncio.to_thread(postgres_server.allow_connections, postgres_url, True)
            await asyncio.to_thread(until, lambda: there.received, "the message")
            task.cancel()

        asyncio.run(until_sent())
    house.close()


@pytest.mark.slow
def test_a_service_sends_by_its_own_settings(tmp_path: Path) -> None:
    """The process that administrators start, with its webhook networks and its mail server."""
    credential = token(tmp_path, "ann")
    with receiver() as there, postbox() as box:
        settings = [
            "--tokens",
            "tokens.json",
            "--MLOpsService.webhook_networks=127.0.0.0/8",
            f"--MLOpsService.smtp_url={box.url}",
            "--MLOpsService.mail_from=mlops@example.org",
        ]
        with started(tmp_path, *settings) as (_, url), RemoteTracker(url, credential) as tracker:
            experiment = tracker.experiments.ensure("models")
            run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
            tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(MLMODEL))
            tracker.models.register("churn", run.run_id, "model")
            for target in (there.url, "mailto:team@example.org"):
                tracker.webhooks.create(target, model="churn", events=["alias.moved"])
            tracker.models.set_alias("churn", "production", 1, reason="best")
            until(lambda: there.received and box.mails, "both messages")
            for hook in tracker.webhooks.list():
                until(
                    lambda hook=hook: tracker.webhooks.deliveries(hook.webhook_id)[0].state is DeliveryState.DELIVERED,
                    "that it is noted",
                )
    assert there.received[0].json["data"]["alias"] == "production"
    assert "churn@production is now version 1, by ann: best" in box.mails[0][1].get_content()


@pytest.mark.slow
def test_a_receiver_by_https_shows_a_certificate_that_the_service_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority of the house is trusted as OpenSSL is told to, by the service's environment."""
    credential = token(tmp_path, "ann")
    trusted, unknown = Authority(tmp_path / "trusted"), Authority(tmp_path / "unknown")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.certificate))
    settings = ["--tokens", "tokens.json", "--MLOpsService.webhook_networks=127.0.0.0/8"]
    with (
        receiver(tls=trusted.server) as there,
        receiver(tls=unknown.server) as elsewhere,
        started(tmp_path, *settings) as (_, url),
        RemoteTracker(url, credential) as tracker,
    ):
        hooks = [tracker.webhooks.create(each.url, owner="ann") for each in (there, elsewhere)]
        tracker.models.create("churn")

        def last(number: int) -> Any:
            return next(iter(tracker.webhooks.deliveries(hooks[number].webhook_id)), None)

        until(lambda: last(0) and last(0).state is DeliveryState.DELIVERED, "that it is noted")
        until(lambda: last(1) and last(1).error, "that the other fails")
        assert "certificate" in last(1).error.lower()
        assert verify_signature(
            hooks[0].secret or "", there.received[0].headers, there.received[0].body, now=time.time()
        )
    assert elsewhere.received == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("--MLOpsService.webhook_networks=inside", "'inside' is no network"),
        ("--MLOpsService.smtp_url=mail.example", "smtp_url"),
    ],
)
def test_settings_that_do_not_fit_keep_a_service_from_starting(tmp_path: Path, setting: str, told: str) -> None:
    token(tmp_path, "ann")
    command = [*COMMAND, "--port", "0", "--tokens", "tokens.json", setting]
    environ = {**os.environ, "MLOPS_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
