"""The channel of requests: a reply is heard whatever is sent while it is waited for."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import Session

from jupyter_mlops.core.records import Run, RunStatus
from jupyter_mlops.recording.shellchannel import RequestChannel
from tests.notebook_files import printed

# What ipywidgets does for an Output widget, that tests need not install it.
WIDGET = """\
from comm import create_comm
state = {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "outputs": [], "msg_id": ""}
widget = create_comm(target_name="jupyter.widget", data={"state": state})
request = get_ipython().kernel.get_parent
"""
CAPTURED = """\
print("outside", flush=True)
widget.send({"method": "update", "state": {"msg_id": request("shell")["header"]["msg_id"]}})
for number in range(100):
    print(CELL, number, flush=True)
widget.send({"method": "update", "state": {"msg_id": ""}})
"""


def test_a_reply_that_comes_just_before_something_is_sent_is_heard(tmp_path: Path) -> None:
    async def heard() -> dict[str, Any]:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as kernel, zmq.asyncio.Context() as contexts:
            kernel.bind(f"ipc://{tmp_path}/socket")
            socket = contexts.socket(zmq.DEALER)
            socket.connect(f"ipc://{tmp_path}/socket")
            channel, session = RequestChannel(socket, Session(key=b"key")), Session(key=b"key")
            channel.send(session.msg("execute_request"))
            identities, _ = session.feed_identities(kernel.recv_multipart())
            waiting = asyncio.ensure_future(channel.get_msg())
            await asyncio.sleep(0)  # it waits
            session.send(kernel, "execute_reply", ident=identities)
            assert select.select([socket.get(zmq.FD)], [], [], 20)[0]
            # ZeroMQ looks for what came once a millisecond only.
            while select.select([socket.get(zmq.FD)], [], [], 0)[0]:
                channel.send(session.msg("comm_msg"))
            try:
                return await asyncio.wait_for(waiting, 20)
            finally:
                channel.close()

    assert asyncio.run(heard())["msg_type"] == "execute_reply"


def test_a_notebook_that_prints_into_a_widget_comes_to_its_end(
    record: Callable[..., Run], executed: Callable[[Run], dict[str, Any]]
) -> None:
    cells = [CAPTURED.replace("CELL", str(number)) for number in range(3)]
    run = record(WIDGET, *cells, execution_timeout=20)
    assert run.status is RunStatus.FINISHED, run.reason
    notebook = executed(run)
    # A reply that was not heard is found when the time is over.
    assert max(cell["metadata"]["papermill"]["duration"] for cell in notebook["cells"]) < 20
    assert printed(notebook) == "outside\n" * 3
    (state,) = notebook["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert state["state"]["outputs"][-1]["text"] == "".join(
        f"{cell} {number}\n" for cell in range(3) for number in range(100)
    )
