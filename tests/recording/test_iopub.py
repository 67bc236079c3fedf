"""The channel of outputs: in order, whole as long as there is room, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import DELIM, Session

from jupyter_mlops.recording import iopub, streamtext
from jupyter_mlops.recording.iopub import OutputChannel
from jupyter_mlops.recording.streamtext import read_printed
from tests.waiting import DEADLINE

KEY = b"key"


def received(place: Path, send: Callable[[Session, Any], None]) -> list[dict[str, Any]]:
    """What a channel gives of all that ``send`` publishes, up to the message ``status``."""

    async def receive() -> list[dict[str, Any]]:
        with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, zmq.asyncio.Context() as contexts:
            publisher.set(zmq.SNDHWM, 0)
            publisher.bind(f"ipc://{place}")
            socket = contexts.socket(zmq.SUB)
            socket.set(zmq.RCVHWM, 0)
            socket.subscribe(b"")
            socket.connect(f"ipc://{place}")
            publisher.recv()  # subscribed
            send(Session(key=KEY), publisher)
            channel = OutputChannel(socket, Session(key=KEY))
            channel.start()
            with contextlib.closing(channel):
                found = [await channel.get_msg(timeout=60)]
                while found[-1]["msg_type"] != "status":
                    found.append(await channel.get_msg(timeout=60))
            return found

    return asyncio.run(receive())


def taken(place: Path, messages: list[tuple[str, dict[str, Any]]], most: int) -> list[dict[str, Any]]:
    """What a channel gives when it is asked after all of it came; what waited in memory was ``most`` bytes at most."""

    async def receive() -> list[dict[str, Any]]:
        with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, zmq.asyncio.Context() as contexts:
            # Not more than a few are on their way, and sending waits for the channel, not in vain.
            publisher.set(zmq.XPUB_NODROP, 1)
            publisher.set(zmq.SNDHWM, 1)
            publisher.set(zmq.SNDTIMEO, 1000 * int(DEADLINE))
            publisher.bind(f"ipc://{place}")
            socket = contexts.socket(zmq.SUB)
            socket.set(zmq.RCVHWM, 1)
            socket.subscribe(b"")
            socket.connect(f"ipc://{place}")
            publisher.recv()  # subscribed
            with contextlib.closing(OutputChannel(socket, Session(key=KEY))) as channel:
                channel.start()
                session = Session(key=KEY)
                for kind, content in messages:
                    session.send(publisher, kind, content)
                    assert channel._bytes <= most
                return [await channel.get_msg(timeout=DEADLINE) for _ in messages]

    return asyncio.run(receive())


def text(messages: list[dict[str, Any]]) -> str:
    return "".join(message["content"]["text"] for message in messages if message["msg_type"] == "stream")


def test_few_messages_are_given_as_they_came(tmp_path: Path) -> None:
    def send(session: Session, socket: Any) -> None:
        for number in range(100):
            session.send(socket, "stream", {"name": "stdout", "text": f"{number}\n"}, ident=b"stream.stdout")
        session.send(socket, "status", {"execution_state": "idle"})

    found = received(tmp_path / "socket", send)
    assert [message["content"].get("text") for message in found] == [f"{number}\n" for number in range(100)] + [None]


def test_many_messages_are_put_together_by_stream_and_cell(tmp_path: Path) -> None:
    parents = [{"msg_id": "first"}, {"msg_id": "second"}]

    def send(session: Session, socket: Any) -> None:
        for number in range(10_000):
            name = "stderr" if number % 2_500 == 2_499 else "stdout"
            content = {"name": name, "text": f"{number}\n"}
            session.send(socket, session.msg("stream", content, parents[number // 5_000]))
        session.send(socket, session.msg("display_data", {"data": {"text/plain": "stream"}}, parents[1]))
        session.send(socket, session.msg("stream", {"name": "stdout", "text": "end"}, parents[1]))
        session.send(socket, "status", {"execution_state": "idle"})

    found = received(tmp_path / "socket", send)
    assert text(found) == "".join(f"{number}\n" for number in range(10_000)) + "end"
    first = [message for message in found if message["parent_header"].get("msg_id") == "first"]
    assert text(first) == "".join(f"{number}\n" for number in range(5_000))
    errors = [message for message in found if message["content"].get("name") == "stderr"]
    assert text(errors) == "2499\n4999\n7499\n9999\n"
    assert [message["msg_type"] for message in found[-3:]] == ["display_data", "stream", "status"]
    # Beyond a thousand that wait.
    assert len(found) < 2_000


def test_beyond_its_room_text_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iopub, "MOST_WAITING_BYTES", 12 << 20)

    def send(session: Session, socket: Any) -> None:
        for _ in range(100):
            session.send(socket, "stream", {"name": "stdout", "text": "x" * 1_000_000})
        session.send(socket, "display_data", {"data": {"text/plain": "kept"}})
        session.send(socket, "status", {"execution_state": "idle"})

    found = received(tmp_path / "socket", send)
    shown = text(found)
    (said,) = (line for line in shown.splitlines() if line.startswith("["))
    left_out = int(said[1:].partition(" ")[0].replace(",", ""))
    assert shown.count("x") + left_out == 100_000_000
    assert 8 << 20 <= shown.count("x") <= 13 << 20
    assert found[-2]["content"]["data"] == {"text/plain": "kept"}


def test_a_forged_message_is_put_to_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iopub, "_MOST_SEPARATE", 1)

    def send(session: Session, socket: Any) -> None:
        session.send(socket, "stream", {"name": "stdout", "text": "true"})
        Session(key=b"another").send(socket, "stream", {"name": "stdout", "text": "forged"})

    with pytest.raises(ValueError, match="Invalid Signature"):
        received(tmp_path / "socket", send)


def test_a_message_that_cannot_be_read_is_told_to_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iopub, "_MOST_SEPARATE", 0)

    def send(session: Session, publisher: Any) -> None:
        parts = [b'{"unlike": "stream"}', b"{}", b"{}", b"{}"]
        publisher.send_multipart([DELIM, session.sign(parts), *parts])

    failures: list[BaseException] = []

    def ask() -> None:
        try:
            received(tmp_path / "socket", send)
        except KeyError as error:
            failures.append(error)

    in_time(ask)
    assert [str(error) for error in failures] == ["'msg_type'"]


class Endless:
    """A socket from which more comes than is taken."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        content = {"name": "stdout", "text": "x"}
        session = Session(key=KEY)
        self._frames = [zmq.Frame(part) for part in session.serialize(session.msg("stream", content))]

    def get(self, option: int) -> Any:
        return self._socket.get(option)

    def recv_multipart(self, *_: object, **__: object) -> list[zmq.Frame]:
        return self._frames


def test_more_than_can_be_taken_keeps_nobody_from_asking_or_closing(tmp_path: Path) -> None:
    given = []

    async def receive() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
            socket.bind(f"ipc://{tmp_path / 'socket'}")
            channel = OutputChannel(socket, Session(key=KEY))
            channel._receiver = Endless(channel._receiver)  # type: ignore[assignment]
            with contextlib.closing(channel):
                channel.start()
                given.append(await channel.get_msg())

    in_time(lambda: asyncio.run(receive()))
    assert [message["msg_type"] for message in given] == ["stream"]


def in_time(work: Callable[[], object]) -> None:
    """Do what once did not end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_what_comes_is_received_before_anybody_asks(tmp_path: Path) -> None:
    messages = [("display_data", {"data": {"text/plain": str(number)}}) for number in range(200)]
    found = taken(tmp_path / "socket", messages, 1 << 20)
    assert [message["content"] for message in found] == [content for _, content in messages]


def test_displays_beyond_the_room_wait_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iopub, "MOST_WAITING_BYTES", 1 << 20)
    messages = [("display_data", {"data": {"text/plain": f"{number}" + "x" * 100_000}}) for number in range(50)]
    messages += [("error", {"ename": "E", "evalue": "", "traceback": []}), ("status", {"execution_state": "idle"})]
    found = taken(tmp_path / "socket", messages, 1 << 20)
    assert [(message["msg_type"], message["content"]) for message in found] == messages


def test_a_full_disk_loses_no_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iopub, "MOST_WAITING_BYTES", 1 << 20)

    def write_a_part(file: int, content: bytes, offset: int) -> int:
        return write(file, content[:1000], offset)

    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", write_a_part)
    messages = [("display_data", {"data": {"text/plain": f"{number}" + "x" * 100_000}}) for number in range(20)]
    found = taken(tmp_path / "socket", messages, 4 << 20)
    assert [message["content"] for message in found] == [content for _, content in messages]


def test_of_a_long_message_what_there_is_room_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that a kernel put together in one message, far larger than what may wait."""
    monkeypatch.setattr(iopub, "MOST_WAITING_BYTES", 4 << 20)

    def send(session: Session, socket: Any) -> None:
        session.send(socket, "stream", {"name": "stdout", "text": "\N{SNOWMAN}xxx\n" * 8_000_000})
        session.send(socket, "status", {"execution_state": "idle"})
        tracemalloc.start()

    try:
        found = received(tmp_path / "socket", send)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 40_000_000
    kept, _, said = text(found).rpartition("[")
    left_out = int(said.partition(" ")[0].replace(",", ""))
    assert kept.rstrip("\n").startswith("\N{SNOWMAN}xxx\n" * 500_000)
    assert len(kept) - 1 + left_out == 40_000_000


@pytest.mark.parametrize("piece", [13, 14, 15, 16, 17, 64])
@pytest.mark.parametrize("is_ascii", [False, True])
def test_text_is_read_piece_by_piece(piece: int, is_ascii: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamtext, "LARGEST_PIECE", piece)
    printed = 'a\\"\n\t\0\N{SNOWMAN}\N{GRINNING FACE}\N{GRINNING FACE}\u00e9' * 20
    content = json.dumps({"name": "stderr", "text": printed}, ensure_ascii=is_ascii).encode()
    name, pieces = read_printed(memoryview(content))
    texts = list(pieces)
    assert (name, "".join(texts)) == ("stderr", printed)
    assert all(len(text) <= piece + 12 for text in texts)


def test_text_that_is_not_as_usual_is_not_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamtext, "LARGEST_PIECE", 20)
    for odd in b'{"text": "' + b"x" * 300 + b'", "name": "stdout"}', b'{"name": "stdout", "text": "x", "more": "y"}':
        with pytest.raises(ValueError, match="text"):
            list(read_printed(memoryview(odd))[1])
