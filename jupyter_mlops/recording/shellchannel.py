"""The channel that requests go to a kernel by, and their replies come back."""

from __future__ import annotations

from typing import Any

import zmq
from jupyter_client.channels import AsyncZMQSocketChannel


class RequestChannel(AsyncZMQSocketChannel):
    """Sends without taking from whoever waits for a reply the news that one came.

    While a cell runs, more than requests is sent: what is printed into an ``Output`` widget goes back to the kernel as
    the widget's state. ZeroMQ signals once that there is something to receive, and any use of the socket takes the
    signal; the client sends past the object that waits, which then would wait for the cell's reply forever.
    """

    def send(self, msg: dict[str, Any]) -> None:
        super().send(msg)
        assert self.socket is not None
        # Asked for through the object that waits, it has those served for whom something came.
        self.socket.get(zmq.EVENTS)
