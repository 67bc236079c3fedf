"""Principals by a file of tokens, for a service without a hub. The file holds hashes; a token is shown once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
from tornado.web import RequestHandler

from jupyter_mlops.core.access import Principal, Scope, group_name, owner_name, user_name
from jupyter_mlops.core.credentials import new_token, token_digest
from jupyter_mlops.core.errors import InvalidValue, Unauthenticated, Unavailable
from jupyter_mlops.core.formats import now
from jupyter_mlops.core.records import Record
from jupyter_mlops.tracker.filelock import locked

TOKEN_PREFIX = "mlops_"
_PATIENCE_SECONDS = 60.0
"""How long a change of the file waits for another, whose process may have been stopped and might never go on."""
_CREDENTIAL = re.compile(r"(?:token|bearer)\s+(\S+)", re.IGNORECASE)


class Grant(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token stands for. It is random and long, so that its SHA-256 gives nothing away."""

    user: str
    groups: tuple[str, ...] = ()
    scope: str = "write"
    group_scopes: dict[str, str] = msgspec.field(default_factory=dict)
    """Scopes on the things of single groups, by their names."""
    decides: bool = True
    """Whether it may decide for others; see :class:`jupyter_mlops.core.access.Principal`."""
    default_owner: str | None = None
    acts_for: str | None = None
    """Who answers for a token that no person uses; see :class:`jupyter_mlops.core.access.Principal`."""
    created: int = 0
    """Milliseconds since the epoch."""
    expires: int | None = None
    """From when on it counts no more, as ``created``; None for never."""

    def principal(self) -> Principal:
        return Principal(
            name=self.user,
            groups=frozenset(self.groups),
            scope=Scope[self.scope.upper()],
            group_scopes=tuple((group, Scope[scope.upper()]) for group, scope in sorted(self.group_scopes.items())),
            decides=self.decides,
            default_owner=self.default_owner,
            acts_for=self.acts_for,
            expires=self.expires,
        )


Grants = dict[str, Grant]
"""By the SHA-256 of the token, in hex."""


def create_token(path: Path, grant: Grant) -> str:
    """Add a new token for ``grant`` to the file, which is made when there is none; gives the token.

    Raises
    ------
    InvalidValue
        The user, a group or the scope is not possible, or the file holds something else.
    """
    _check(grant, str(path))
    token = new_token(TOKEN_PREFIX)
    with _changing(path) as place:
        grants = read_grants(place) if place.exists() else {}
        _write(place, {**grants, token_digest(token): grant})
    return token


def find_tokens(path: Path, beginnings: Iterable[str] = (), user: str | None = None) -> Grants:
    """The tokens whose hashes begin so, and those of ``user``.

    Raises
    ------
    InvalidValue
        One of them fits none, or several; or nothing was asked for.
    """
    grants = read_grants(path)
    found = {name: grant for name, grant in grants.items() if grant.user == user}
    if user is not None and not found:
        raise InvalidValue(f"{path} has no token of {user!r}")
    for beginning in beginnings:
        fitting = [name for name in grants if beginning and name.startswith(beginning)]
        if len(fitting) != 1:
            raise InvalidValue(f"{path} has {len(fitting)} tokens whose hash begins with {beginning!r}")
        found[fitting[0]] = grants[fitting[0]]
    if not found:
        raise InvalidValue("say which tokens: by the beginning of their hash, or by their user")
    return found


def revoke_tokens(path: Path, names: Iterable[str]) -> None:
    """Take tokens, by their hashes, out of the file."""
    with _changing(path) as place:
        grants = read_grants(place)
        for name in names:
            grants.pop(name, None)
        _write(place, grants)


@contextmanager
def _changing(path: Path) -> Iterator[Path]:
    """One process at a time changes the file: of two tokens that are made at once both count. Gives where it is, which
    is elsewhere where ``path`` is a symbolic link."""
    place = Path(os.path.realpath(path))
    if os.path.lexists(place) and not place.is_file():
        raise InvalidValue(f"{path} is no file; tokens are kept in one of their own")
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        with ExitStack() as turn:
            try:
                turn.enter_context(locked(descriptor, _PATIENCE_SECONDS))
            except TimeoutError as error:
                raise Unavailable(f"{path} cannot be changed now: {error.strerror}") from error
            yield place
    finally:
        os.close(descriptor)


def _write(path: Path, grants: Grants) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if path.exists():
            # Whoever was let read the file, such as the service's own user, still reads it.
            before = path.stat()
            with suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        file.write(msgspec.json.format(msgspec.json.encode(grants), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_grants(path: Path) -> Grants:
    """The file's tokens; ``InvalidValue`` when it is none of ours."""
    try:
        grants = msgspec.json.decode(path.read_bytes(), type=Grants)
    except OSError as error:
        raise InvalidValue(f"the file of tokens {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} is no file of tokens: {error}") from error
    for grant in grants.values():
        _check(grant, str(path))
    return grants


def credential(handler: RequestHandler) -> str | None:
    """The token in the request's ``Authorization`` header (``token X`` or ``Bearer X``); None when there is none."""
    found = _CREDENTIAL.fullmatch(handler.request.headers.get("Authorization", "").strip())
    return None if found is None else found[1]


class TokenFile:
    """The identity of a service whose callers have tokens of a file, which is read again when it was changed."""

    handler_class = RequestHandler

    def __init__(self, path: Path) -> None:
        self._path = path
        self._grants = read_grants(path)
        self._stamp = self._stat()

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:  # noqa: ARG002 - always is
        token = credential(handler)
        if token is None:
            raise Unauthenticated("say who is asking: Authorization: token ... ")
        grant = self._current().get(token_digest(token))
        if grant is None:
            raise Unauthenticated("this token is not known here; it may have been revoked")
        if grant.expires is not None and grant.expires <= now():
            raise Unauthenticated("this token has expired; ask for another")
        return grant.principal()

    def members(self, group: str) -> frozenset[str] | None:
        """Who has a token as one of the group; None while the file cannot be read."""
        try:
            return frozenset(grant.user for grant in self._current().values() if group in grant.groups)
        except Unavailable:
            return None

    def _current(self) -> Grants:
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._grants, self._stamp = read_grants(self._path), stamp
        except (OSError, InvalidValue) as error:
            # Whoever damaged the file must not keep those in that it was to keep out.
            raise Unavailable(f"the file of tokens cannot be read: {error}") from error
        return self._grants

    def _stat(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


class OneToken:
    """The identity of a service that a single token opens."""

    handler_class = RequestHandler

    def __init__(self, token: str, principal: Principal) -> None:
        self._digest = token_digest(token)
        self._principal = principal

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:  # noqa: ARG002 - always is
        given = credential(handler)
        if given is None or token_digest(given) != self._digest:
            raise Unauthenticated("this address is for one notebook run, whose kernel has its token")
        return self._principal


def _check(grant: Grant, where: str) -> None:
    user_name(grant.user)
    for group in (*grant.groups, *grant.group_scopes):
        group_name(group)
    if grant.default_owner is not None:
        owner_name(grant.default_owner)
    if grant.acts_for is not None:
        user_name(grant.acts_for)
    known = [scope.name.lower() for scope in Scope]
    for scope in (grant.scope, *grant.group_scopes.values()):
        if scope not in known:
            raise InvalidValue(f"{where}: the scope {scope!r} of {grant.user!r} is none of {', '.join(known)}")
