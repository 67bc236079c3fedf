"""Logins in the browser, by the hub's OAuth, also where several replicas of the service answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec
from jupyterhub.services.auth import HubOAuth
from traitlets import Bytes, default

from jupyter_mlops.core.errors import InvalidValue

COOKIE_SECRET = "MLOPS_COOKIE_SECRET"
_SHORTEST_SECRET = 16
# The base class has no way to say so for one call, since it looks for the token itself.
_anew: ContextVar[bool] = ContextVar("asking_anew", default=False)


class StatelessHubOAuth(HubOAuth):  # type: ignore[misc]
    """JupyterHub's OAuth client, which keeps what a login needs in its state instead of in this process's memory: the
    browser may come back to another replica, or after a restart.

    The state is signed with the cookie secret, which all replicas share, since the base class follows it also without
    the cookie. What it says of the proof key (PKCE) is a nonce; the key itself follows from it by the same secret.
    """

    cookie_secret = Bytes(help="Signs cookies and proof keys.")

    @default("oauth_client_id")
    def _client_id_by_name(self) -> str:
        # What a hub calls the client of a service whose environment it does not make.
        return os.environ.get("JUPYTERHUB_CLIENT_ID") or f"service-{os.environ['JUPYTERHUB_SERVICE_NAME']}"

    def generate_pkce_code_challenge(self, method: str = "S256") -> tuple[str, str, str]:
        verifier = self._verifier(secrets.token_urlsafe(16))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return verifier, challenge, method

    def generate_state(self, next_url: str | None = None, **extra_state: Any) -> str:
        nonce = str(extra_state.get("code_verifier") or secrets.token_urlsafe(16)).partition(".")[0]
        parts = [nonce, next_url or "", str(extra_state.get("cookie_name") or "")]
        content = base64.urlsafe_b64encode(msgspec.json.encode(parts)).rstrip(b"=").decode()
        return f"{content}.{self._signature('state', content)}"

    def clear_oauth_state(self, state_id: str) -> None:
        """Nothing is kept; the hub takes a code once."""

    def get_next_url(self, state_id: str = "", /) -> str:
        return self._parts(state_id)[1] or str(self.base_url)

    def get_code_verifier(self, state_id: str = "", /) -> str:
        return self._verifier(self._parts(state_id)[0])

    def get_state_cookie_name(self, state_id: str = "", /) -> str:
        return self._parts(state_id)[2] or str(self.state_cookie_name)

    @contextmanager
    def asking_anew(self, anew: bool = True) -> Iterator[None]:
        """What is asked in the block is asked of the hub, if ``anew``, though its last answer is remembered."""
        token = _anew.set(anew)
        try:
            yield
        finally:
            _anew.reset(token)

    def user_for_token(self, token: str, use_cache: bool = True, session_id: str = "", *, sync: bool = True) -> Any:
        return super().user_for_token(token, use_cache and not _anew.get(), session_id, sync=sync)

    def _verifier(self, nonce: str) -> str:
        return f"{nonce}.{self._signature('pkce', nonce)}"

    def _parts(self, state_id: str) -> list[str]:
        """The nonce, the URL to go to and the cookie's name in a state; empty ones for what is no state of ours."""
        content, _, signature = state_id.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature("state", content).encode()):
            return ["", "", ""]
        return msgspec.json.decode(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)), type=list[str])

    def _signature(self, purpose: str, content: str) -> str:
        return hmac.digest(self.cookie_secret, f"{purpose}:{content}".encode(), "sha256").hex()


def kept_cookie_secret(path: Path) -> bytes:
    """The secret in ``MLOPS_COOKIE_SECRET`` (hexadecimal), else that in the file, which is made when there is none: so
    that logins outlive a restart.

    Raises
    ------
    InvalidValue
        The secret is too short or not hexadecimal, or the file can be read by others.
    """
    given = os.environ.get(COOKIE_SECRET)
    if given:
        return _from_hex(given, COOKIE_SECRET)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name that no other process has, on whatever machine: one that was killed here has left a link to the file
    # under its own, and what is written there would be written to the file.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(descriptor)
        # Of two processes that start at once, one makes the file and both read it.
        path.hardlink_to(fresh)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    if path.stat().st_mode & 0o077:
        raise InvalidValue(f"{path} holds a secret and can be read by others: chmod 600 {path}")
    return _from_hex(path.read_text(encoding="ascii").strip(), str(path))


def _from_hex(text: str, where: str) -> bytes:
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) < _SHORTEST_SECRET:
        raise InvalidValue(f"{where} holds no secret: write at least {2 * _SHORTEST_SECRET} hexadecimal digits")
    return secret
