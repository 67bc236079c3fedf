"""Mail, by a server of SMTP."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from jupyter_mlops.core.errors import InvalidValue

_SECONDS = 10.0
_PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}


class Mail:
    """Sends mails from one address.

    Parameters
    ----------
    url
        ``smtp://USER@HOST:587`` (encrypted by STARTTLS), ``smtps://USER@HOST:465``, or ``smtp+plain://HOST:25`` for a
        server beside this one.
    sender
        The address that mails come from.
    domains
        Mail goes to addresses of these only; when empty, of the sender's.
    password
        Of the user in ``url``.

    Raises
    ------
    InvalidValue
        The settings do not fit together.
    """

    def __init__(self, url: str, sender: str, domains: Sequence[str] = (), password: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.password is not None:
            raise InvalidValue(
                "smtp_url is smtp://USER@HOST:587, smtps://USER@HOST:465 or smtp+plain://HOST:25; the password is in "
                "the environment variable MLOPS_SMTP_PASSWORD"
            )
        _, at, domain = sender.rpartition("@")
        if not at or not domain:
            raise InvalidValue(f"mail_from: {sender!r} is no mail address")
        if parts.username and parts.scheme == "smtp+plain":
            raise InvalidValue("smtp_url: a password is not sent unencrypted; use smtp:// or smtps://")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), password
        self._sender = sender
        self._domains = frozenset(each.lower() for each in domains or (domain,))

    def send(self, to: str, subject: str, text: str, message_id: str) -> None:
        """Send one mail; ``OSError`` when the server does not take it, ``InvalidValue`` for an address of a domain to
        which none goes."""
        domain = to.rpartition("@")[2].lower()
        if domain not in self._domains:
            raise InvalidValue(
                f"this service sends no mail to {domain}: an administrator may allow it (MLOpsService.mail_domains)"
            )
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._sender, to, subject
        mail["Message-ID"] = f"<{message_id}@{self._sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        with self._connected() as server:
            if self._user:
                server.login(self._user, self._password)
            server.send_message(mail)

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._scheme == "smtps":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_SECONDS, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=_SECONDS)
        if self._scheme == "smtp":
            server.starttls(context=context)
        return server
