"""Wires between a runner and a forked kernel: messages stay whole, in order and are not lost, whoever sends them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

import psutil
import pytest
from jupyter_client.session import Session

from tests.waiting import until

if sys.platform != "linux":
    pytest.skip("forking needs Linux", allow_module_level=True)

from jupyter_mlops.execution.fork import clientchannels
from jupyter_mlops.execution.fork.clientchannels import OutputWire, RequestWire
from jupyter_mlops.execution.fork.message import read_message
from jupyter_mlops.execution.fork.wire import Wire

PACKET = 60_000


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    first, second = map(Wire, Wire.pair())
    with contextlib.closing(first), contextlib.closing(second):
        yield first, second


def patient(wire: Wire) -> list[bytes]:
    """The next message, waited for."""
    found: list[list[bytes]] = []

    def came() -> bool:
        with contextlib.suppress(BlockingIOError):
            found.append(wire.receive())
        return bool(found)

    until(came, "a message")
    return found[0]


@pytest.mark.parametrize(
    "sizes", [(), (0,), (3, 0, 5), (PACKET - 13,), (PACKET - 12,), (PACKET - 11,), (PACKET,), (7, 3 * PACKET + 1, 9)]
)
def test_a_message_arrives_in_its_parts(ends: tuple[Wire, Wire], sizes: tuple[int, ...]) -> None:
    parts = [os.urandom(size) for size in sizes]
    sender = threading.Thread(target=ends[0].send, args=(parts,))
    sender.start()
    assert patient(ends[1]) == parts
    sender.join()
    with pytest.raises(BlockingIOError):
        ends[1].receive()


def test_parts_may_be_buffers_of_any_kind(ends: tuple[Wire, Wire]) -> None:
    import numpy as np

    numbers = np.arange(5.0)
    ends[0].send([memoryview(numbers), bytearray(b"ab"), memoryview(numbers)[1:3]])
    assert ends[1].receive() == [numbers.tobytes(), b"ab", numbers[1:3].tobytes()]


def test_the_end_of_one_end_is_told_behind_what_it_sent(ends: tuple[Wire, Wire]) -> None:
    ends[0].send([b"last"])
    ends[0].close()
    assert ends[1].receive() == [b"last"]
    for _ in range(2):
        with pytest.raises(ConnectionError):
            ends[1].receive()
    with pytest.raises(BrokenPipeError):
        ends[1].send([b"nobody"])


def test_who_sends_to_nobody_is_not_killed(ends: tuple[Wire, Wire]) -> None:
    ends[1].close()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for send in ends[0].send, lambda parts: ends[0].send_at_once(next(ends[0].packets(parts))):
            with contextlib.suppress(BrokenPipeError):
                send([b"nobody"])
                os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_threads_and_processes_send_at_the_same_time(ends: tuple[Wire, Wire]) -> None:
    def send(name: int) -> None:
        for count in range(30):
            ends[0].send([b"%d %d" % (name, count), bytes([name]) * (count % 3 * 2 * PACKET)])

    forking = multiprocessing.get_context("fork")
    senders: list[Any] = [forking.Process(target=send, args=(name,)) for name in range(3)]
    for process in senders:
        process.start()
    senders += [threading.Thread(target=send, args=(name,)) for name in range(3, 6)]
    for thread in senders[3:]:
        thread.start()
    told = [patient(ends[1]) for _ in range(6 * 30)]
    for sender in senders:
        sender.join()
    for name in range(6):
        own = [(text, body) for text, body in told if text.startswith(b"%d " % name)]
        assert [text for text, _ in own] == [b"%d %d" % (name, count) for count in range(30)]
        assert all(body == bytes([name]) * (count % 3 * 2 * PACKET) for count, (_, body) in enumerate(own))


def test_who_is_killed_while_it_sends_spoils_no_other_message(ends: tuple[Wire, Wire]) -> None:
    pid = os.fork()
    if pid == 0:
        ends[0].send([b"x" * 100 * PACKET])
        os._exit(0)
    # It has sent what finds room, and waits.
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING, "the sender's waiting")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    sender = threading.Thread(target=ends[0].send, args=([b"whole", b"y" * 2 * PACKET],))
    sender.start()
    assert patient(ends[1]) == [b"whole", b"y" * 2 * PACKET]
    sender.join()


def test_requests_wait_for_a_kernel_that_executes_a_cell(ends: tuple[Wire, Wire]) -> None:
    """As the states of an output widget, while the loop that executes the notebook goes on."""
    session = Session()
    session.auth = None
    channel = RequestWire(ends[0], session)
    sent = [session.msg("comm_msg", {"data": "d" * 3000, "number": number}) for number in range(300)]
    began = time.monotonic()
    for message in sent:
        channel.send(message)
    assert time.monotonic() - began < 5

    async def reply() -> dict[str, Any]:
        with pytest.raises(Empty):
            await channel.get_msg(timeout=0.05)
        answer = asyncio.create_task(channel.get_msg(timeout=60))
        for message in sent:
            while True:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    assert read_message(ends[1].receive())["content"] == message["content"]
                    break
        ends[1].send(session.serialize(session.msg("execute_reply", {"status": "ok"}, parent=sent[-1])))
        return await answer

    answer = asyncio.run(reply())
    assert (answer["msg_type"], answer["parent_header"]["msg_id"]) == ("execute_reply", sent[-1]["msg_id"])
    ends[1].close()

    async def nothing() -> None:
        with pytest.raises(Empty):
            await channel.get_msg(timeout=0.05)

    asyncio.run(nothing())


@pytest.mark.parametrize("count", [3, 5_000])
def test_outputs_arrive_in_order_however_many(ends: tuple[Wire, Wire], count: int) -> None:
    """Very many are received by a thread, and what is printed is put together."""
    session = Session()
    session.auth = None
    channel = OutputWire(ends[0], session)
    parent = session.msg("execute_request", {})
    many_wait = threading.Event()

    def publish() -> None:
        for number in range(count):
            content = {"name": "stdout", "text": f"{number}\n"}
            ends[1].send(session.serialize(session.msg("stream", content, parent=parent), ident=b"stream.stdout"))
            if number in (clientchannels._MANY, count - 1):
                many_wait.set()
        ends[1].send(session.serialize(session.msg("status", {"execution_state": "idle"}, parent=parent)))

    async def text() -> str:
        found = []
        while (message := await channel.get_msg(timeout=60))["msg_type"] != "status":
            found.append(message["content"]["text"])
            time.sleep(0.0005)  # it takes longer than to print
        return "".join(found)

    publisher = threading.Thread(target=publish)
    publisher.start()
    assert many_wait.wait(60)
    with contextlib.closing(channel):
        assert asyncio.run(text()) == "".join(f"{number}\n" for number in range(count))
        publisher.join()
        assert channel._thread.is_alive() == (count > clientchannels._MANY)
        ends[1].close()
        until(lambda: not channel._thread.is_alive(), "the end of receiving")

        async def nothing() -> float:
            began = time.process_time()
            with pytest.raises(Empty):
                await channel.get_msg(timeout=0.3)
            return time.process_time() - began

        assert asyncio.run(nothing()) < 0.2


def test_a_message_is_read_as_the_session_reads_it() -> None:
    session = Session()
    session.auth = None
    parent = session.msg("execute_request", {"code": "x"})
    message = session.msg("display_data", {"data": {"a": [1, None, 2.5]}}, parent=parent, metadata={"m": 1})
    parts = [b"topic", *session.serialize(message), b"buffer", b""]
    theirs = session.deserialize(session.feed_identities(parts)[1])
    ours = read_message(parts)
    assert ours["header"].pop("date") == theirs["header"].pop("date")
    assert ours["parent_header"].pop("date") == theirs["parent_header"].pop("date")
    assert ours == theirs
    for date in ("never", 3, None):
        message["header"]["date"] = date
        assert read_message(session.serialize(message))["header"]["date"] == date


def test_numbers_of_messages_never_end(ends: tuple[Wire, Wire]) -> None:
    ends[0]._numbers = itertools.count((1 << 32) - 1)
    for _ in range(3):
        ends[0].send([b"again"])
        assert ends[1].receive() == [b"again"]
