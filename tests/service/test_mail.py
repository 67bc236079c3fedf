"""Mails of webhooks reach a real server of SMTP."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest

from jupyter_mlops.core import wording
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.webhooks import Message
from jupyter_mlops.service.mail import Mail
from tests.service.authority import Authority


class Postbox:
    """A server of SMTP that takes all that comes, or refuses all."""

    def __init__(self) -> None:
        self.port = 0
        self.refuses = False
        self.mails: list[tuple[str, EmailMessage]] = []
        self.logins: list[bytes] = []
        """What was told to log in, decoded, of encrypted connections."""
        self.words: list[str] = []

    @property
    def url(self) -> str:
        return f"smtp+plain://127.0.0.1:{self.port}"


@contextmanager
def postbox(tls: ssl.SSLContext | None = None, *, at_once: bool = False) -> Iterator[Postbox]:
    """A server; with ``tls`` it takes mails after STARTTLS and a login only, or is encrypted ``at_once``."""
    box = Postbox()

    class Handler(socketserver.StreamRequestHandler):
        def encrypt(self) -> bool:
            """False when the client does not trust the certificate."""
            assert tls is not None
            try:
                self.connection = tls.wrap_socket(self.connection, server_side=True)
            except OSError:
                return False
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
            return True

        def handle(self) -> None:
            if not at_once or self.encrypt():
                self.talk(at_once)

        def talk(self, encrypted: bool) -> None:
            known = tls is None
            self.say("220 here")
            recipient = ""
            while line := self.rfile.readline().decode().strip():
                word = line.split(":")[0].split(" ")[0].upper()
                box.words.append(word)
                if word == "EHLO" and tls is not None:
                    self.say("250-here")
                    self.say("250 AUTH PLAIN" if encrypted else "250 STARTTLS")
                elif word == "STARTTLS":
                    self.say("220 go on")
                    if not self.encrypt():
                        return
                    encrypted = True
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                elif word == "AUTH" and encrypted:
                    box.logins.append(base64.b64decode(line.split(" ")[2]))
                    known = box.logins[-1] == b"\0mlops\0hunter2"
                    self.say("235 ok" if known else "535 no")
                elif not known:
                    self.say("530 log in first")
                elif word == "RCPT":
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


@pytest.mark.parametrize(("scheme", "at_once"), [("smtp", False), ("smtps", True)])
def test_a_password_goes_to_an_encrypted_and_certified_server_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, at_once: bool
) -> None:
    authority = Authority(tmp_path / "authority")
    with postbox(authority.server, at_once=at_once) as box:
        url = f"{scheme}://mlops@127.0.0.1:{box.port}"
        mail = Mail(url, "mlops@example.org", password="hunter2")
        with pytest.raises(ssl.SSLCertVerificationError):
            mail.send("team@example.org", "s", "t", "m")
        assert (box.logins, box.mails) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        mail.send("team@example.org", "s", "t", "m")
        with pytest.raises(OSError, match="535"):
            Mail(url, "mlops@example.org", password="wrong").send("team@example.org", "s", "t", "m")
    assert [recipient for recipient, _ in box.mails] == ["team@example.org"]
    assert box.logins == [b"\0mlops\0hunter2", *[b"\0mlops\0wrong"] * (len(box.logins) - 1)]
    assert ("STARTTLS" in box.words) is not at_once


def test_a_server_that_cannot_encrypt_gets_no_password() -> None:
    with postbox() as box:
        mail = Mail(f"smtp://mlops@127.0.0.1:{box.port}", "mlops@example.org", password="hunter2")
        with pytest.raises(OSError, match="STARTTLS"):
            mail.send("team@example.org", "s", "t", "m")
    assert (box.logins, box.mails, "AUTH" in box.words) == ([], [], False)


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
