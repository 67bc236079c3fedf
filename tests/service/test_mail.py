"""Mails of webhooks reach a real server of SMTP."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from jupyter_mlops.core import wording
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.webhooks import Message
from jupyter_mlops.service.mail import Mail


class Postbox:
    """A server of SMTP that takes all that comes, or refuses all."""

    def __init__(self) -> None:
        self.port = 0
        self.refuses = False
        self.mails: list[tuple[str, EmailMessage]] = []

    @property
    def url(self) -> str:
        return f"smtp+plain://127.0.0.1:{self.port}"


@contextmanager
def postbox() -> Iterator[Postbox]:
    box = Postbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            recipient = ""
            while line := self.rfile.readline().decode().strip():
                word = line.split(":")[0].split(" ")[0].upper()
                if word == "RCPT":
                    recipient = line.partition("<")[2].partition(">")[0]
                    self.say("550 no" if box.refuses else "250 ok")
                elif word == "DATA":
                    self.say("354 go on")
                    content = b""
                    while (piece := self.rfile.readline()) != b".\r\n":
                        content += piece
                    mail = email.message_from_bytes(content, policy=email.policy.default)
                    assert isinstance(mail, EmailMessage)
                    box.mails.append((recipient, mail))
                    self.say("250 ok")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()


def test_a_mail_says_what_happened_and_no_text_ends_a_header() -> None:
    message = Message(
        id="msg_1",
        type="alias.moved",
        model="churn\r\nBcc: eve@evil.example",
        owner="ann",
        timestamp=1,
        user="ann",
        data={"alias": "production", "version": 2, "replaced": 1, "reason": "better\r\n.\r\nQUIT"},
    )
    with postbox() as box:
        mail = Mail(box.url, "mlops@example.org")
        mail.send("team@example.org", wording.subject(message), wording.mail_text(message), message.id)
    [(recipient, got)] = box.mails
    assert recipient == "team@example.org"
    assert (got["From"], got["To"], got["Bcc"]) == ("mlops@example.org", "team@example.org", None)
    assert got["Message-ID"] == "<msg_1@example.org>"
    text = got.get_content()
    assert "version 2 (it was version 1), by ann" in text
    assert "reason: better\\r\\n.\\r\\nQUIT" in text


def test_mail_goes_to_allowed_domains_only() -> None:
    with postbox() as box:
        with pytest.raises(InvalidValue, match="no mail to evil"):
            Mail(box.url, "mlops@example.org").send("a@evil.example", "s", "t", "m")
        Mail(box.url, "mlops@example.org", ["Partner.example"]).send("a@partner.EXAMPLE", "s", "t", "m")
        with pytest.raises(InvalidValue):
            Mail(box.url, "mlops@example.org", ["partner.example"]).send("a@example.org", "s", "t", "m")
    assert [recipient for recipient, _ in box.mails] == ["a@partner.EXAMPLE"]


def test_a_server_that_refuses_is_an_error_that_is_tried_again() -> None:
    with postbox() as box:
        box.refuses = True
        with pytest.raises(OSError, match="no"):
            Mail(box.url, "mlops@example.org").send("a@example.org", "s", "t", "m")
    with pytest.raises(ConnectionRefusedError):
        Mail(box.url, "mlops@example.org").send("a@example.org", "s", "t", "m")


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("http://mail.example", "a@b.example"),
        ("smtp://", "a@b.example"),
        ("smtp://user:password@mail.example", "a@b.example"),
        ("smtp+plain://user@mail.example", "a@b.example"),
        ("smtp://mail.example", ""),
    ],
)
def test_settings_that_do_not_fit_are_refused(url: str, sender: str) -> None:
    with pytest.raises(InvalidValue):
        Mail(url, sender)
