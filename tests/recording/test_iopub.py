"""The channel of outputs: in order, whole as long as there is room, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import Session

from jupyter_mlops.recording import iopub
from jupyter_mlops.recording.iopub import OutputChannel

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
            found = [await channel.get_msg(timeout=60)]
            while found[-1]["msg_type"] != "status":
                found.append(await channel.get_msg(timeout=60))
            channel.close()
            return found

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
        for number in range(40_000):
            name = "stderr" if number % 10_000 == 9_999 else "stdout"
            content = {"name": name, "text": f"{number}\n"}
            session.send(socket, session.msg("stream", content, parents[number // 20_000]))
        session.send(socket, session.msg("display_data", {"data": {"text/plain": "stream"}}, parents[1]))
        session.send(socket, session.msg("stream", {"name": "stdout", "text": "end"}, parents[1]))
        session.send(socket, "status", {"execution_state": "idle"})

    found = received(tmp_path / "socket", send)
    assert text(found) == "".join(f"{number}\n" for number in range(40_000)) + "end"
    first = [message for message in found if message["parent_header"].get("msg_id") == "first"]
    assert text(first) == "".join(f"{number}\n" for number in range(20_000))
    errors = [message for message in found if message["content"].get("name") == "stderr"]
    assert text(errors) == "9999\n19999\n29999\n39999\n"
    assert [message["msg_type"] for message in found[-3:]] == ["display_data", "stream", "status"]
    # Each reception of a thousand messages is followed by one that is processed.
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
