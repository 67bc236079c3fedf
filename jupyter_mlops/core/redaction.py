"""Secrets: recognised by the name they go by or by their shape, and replaced before anything is written.

Only text is ever redacted; numbers and booleans never are (``max_tokens``). Names are taken apart into words, so that
``api_key`` and ``apiKey`` are secrets, while ``tokenizer``, ``author`` and ``monkey`` are not. This is a net with
holes: it keeps the usual accident out of the record, and is no protection against a notebook that means harm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

import msgspec

from jupyter_mlops.core.records import Batch, Input, Json, Param, Tag
from jupyter_mlops.core.values import short

REDACTED = "[redacted]"

SHORTEST_SECRET = 6
"""Characters; a shorter value is not looked for in other texts, where it would hit innocent ones."""

_SECRET_WORDS = frozenset(
    "password passwords passwd passphrase pwd secret secrets token credential credentials cred creds auth "
    "authorization bearer jwt dsn apikey apitoken accesskey secretkey privatekey authtoken accesstoken "
    "connectionstring sshpass dbpass userpass".split()
)
# Words that make a secret only together.
_SECRET_PAIRS = frozenset(
    "api_key api_keys access_key access_keys private_key account_key storage_key encryption_key signing_key ssh_key "
    "master_key service_key license_key connection_string conn_str conn_string sas_url api_tokens access_tokens "
    "refresh_tokens auth_tokens db_pass user_pass smtp_pass mail_pass ftp_pass ssh_pass redis_pass admin_pass "
    "root_pass proxy_pass http_pass postgres_pass mysql_pass".split()
)
# Words that, behind a secret's word, say that the value is something about it.
_ABOUT_WORDS = frozenset(
    "type method mode scheme pattern count counts length len limit sock url uri endpoint file filename path dir name "
    "field column required enabled expiry ttl level budget embedding embeddings dim size ids index".split()
)
# Tokens of a text model's vocabulary.
_VOCABULARY = frozenset("pad eos bos unk mask sep cls special stop start end image audio video oov blank new".split())
# The shell's working directories.
_NOT_SECRET = frozenset({"PWD", "OLDPWD"})

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")

_SHAPES: tuple[tuple[str, str], ...] = (
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})"),
    ("a GitLab token", r"\bglpat-[\w-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[\w-]{10,}"),
    ("a Google API key", r"\bAIza[\w-]{35}"),
    ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("a package index token", r"\b(?:pypi-[\w-]{50,}|npm_[A-Za-z0-9]{36,})"),
    ("a Databricks token", r"\bdapi[0-9a-f]{32}\b"),
    ("an API key", r"\b(?:sk-(?:proj|ant|svcacct|or)-[\w-]{20,}|sk-[A-Za-z0-9]{32,}|[sr]k_live_[A-Za-z0-9]{16,})"),
    ("a JSON web token", r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,}"),
    ("a private key", r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"),
)
_SHAPE = re.compile("|".join(f"(?:{pattern})" for _, pattern in _SHAPES))
# One of these is in whatever has a shape: to look for them takes a twentieth of the time, and most texts have none.
_MARKS = (
    "AKIA ASIA ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox AIza hf_ pypi- npm_ dapi sk- k_live_ eyJ -----BEGIN"
).split()
_SHORTEST_SHAPE = 14
"""Characters; a little less than the shortest text that has a shape."""

_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@'\"<>]*):([^\s/'\"<>]+)@")
# Tracebacks are coloured: there, a terminal's sequence may stand before the value and behind it.
_ASSIGNED = re.compile(r"(?:(?<=[?&;\s])|\A)([\w.-]+)=((?:\x1b\[[\d;]*m)*)([^&;\s'\"<>()\x1b]+)")
_HARMLESS = re.compile(r"(?:true|false|none|null|[-+]?[\d.]+|\[redacted\])[,:]?\Z", re.IGNORECASE)
# How libraries write numbers, truth values and arrays of them.
_NUMBERS = re.compile(r"(?:[-+\d.eE,\s\[\]()]|nan|inf|True|False|None)*\Z")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether something of this name is likely a secret."""
    if name in _NOT_SECRET:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT_WORDS:
        return False
    for before, word in zip(["", *words], words, strict=False):
        if word == "token" and before in _VOCABULARY:
            continue
        if word in _SECRET_WORDS or word.endswith(("password", "passwd")) or f"{before}_{word}" in _SECRET_PAIRS:
            return True
    return False


def redact_batch(batch: Batch, secrets: Collection[str] = ()) -> Batch:
    """The batch as it may be written: its parameters as by :func:`redact_params`, its tags as by :func:`redact_tags`,
    and so the sources and tags of its inputs. The batch itself when it holds metrics only."""
    if not (batch.params or batch.tags or batch.inputs):
        return batch
    return msgspec.structs.replace(
        batch,
        params=redact_params(batch.params, secrets),
        tags=redact_tags(batch.tags, secrets),
        inputs=tuple(_redact_input(use, secrets) for use in batch.inputs),
    )


def redact_params(params: Iterable[Param], secrets: Collection[str] = ()) -> tuple[Param, ...]:
    """The parameters, with a marker in place of what is secret; those are flagged ``redacted``.

    Secret is the text of a parameter (or of an entry of a dict) that is named like a secret, and in any text the
    passwords of URLs, what has the shape of a well-known token, and the known ``secrets``. What was redacted before
    comes out as it is.
    """
    return tuple(_redact_param(param, secrets) for param in params)


def redact_tags(tags: Iterable[Tag], secrets: Collection[str] = ()) -> tuple[Tag, ...]:
    """The tags, with a marker in place of what is secret, as in parameters."""
    return tuple(Tag(tag.key, str(redact_value(tag.key, tag.value, secrets))) for tag in tags)


def redact_value(name: str, value: Json, secrets: Collection[str] = ()) -> Json:
    """A JSON value that goes by ``name``, with a marker in place of each secret text in it."""
    if isinstance(value, str):
        if is_secret_name(name):
            return REDACTED if value else value
        return redact_text(value, secrets)
    if isinstance(value, list | tuple):
        return [redact_value(name, item, secrets) for item in value]
    if isinstance(value, dict):
        return {
            key: redact_value(name if is_secret_name(name) else str(key), item, secrets) for key, item in value.items()
        }
    return value


def shown(name: str, value: Json) -> str:
    """A value that goes by ``name``, short and with nothing secret, for a message."""
    return short(redact_value(name, value))


def redact_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables, with a marker in place of the secret ones and of secrets inside others."""
    return {name: str(redact_value(name, value)) for name, value in environment.items()}


def redact_url(text: str) -> str:
    """The text with the passwords of the URLs in it (``user:password@``) replaced, and with the secret ones of
    ``name=value`` in queries and connection strings."""
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
    return _ASSIGNED.sub(_redact_assigned, text) if "=" in text else text


def masked_url(url: str) -> str:
    """One URL to be shown: its password replaced by ``***``, secrets in its query as by :func:`redact_url`."""
    scheme, separator, rest = url.partition("://")
    # All up to the last @, as a password that was not encoded may hold any character.
    before, at, behind = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    return f"{scheme}{separator}{redact_url(user)}{':***' if colon else ''}{at}{redact_url(behind)}"


def holds_secret(url: str) -> bool:
    """Whether one URL carries a password, a secret of its query, or what has the shape of a well-known token."""
    return redact_text(masked_url(url)) != url


def redact_text(text: str, secrets: Collection[str] = ()) -> str:
    """The text with known secret values replaced (those of at least six characters; also as they look in JSON, in a
    Python string or in a URL), with what has the shape of a well-known token, and as by :func:`redact_url`."""
    if secrets:
        text = _pattern_of(frozenset(secrets)).sub(REDACTED, text)
    if len(text) > _SHORTEST_SHAPE and _has_mark(text):
        text = _SHAPE.sub(REDACTED, text)
    return redact_url(text)


class Withheld:
    """A text that comes in pieces, held back where a known secret may have begun, so that each part that is given out
    can be redacted by itself. Held back is less than twice the longest form of a secret."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._forms = _all_forms(secrets)
        self._pattern = _pattern_of(frozenset(secrets))
        self._rest = ""

    def add(self, piece: str) -> str:
        """What can be given out now that ``piece`` has come."""
        text = self._rest + piece
        cut = self._beginning(text)
        if cut < len(text):
            cut = next((match.start() for match in self._pattern.finditer(text) if match.end() > cut), cut)
        self._rest = text[cut:]
        return text[:cut]

    def end(self) -> str:
        """What was still held back, because no more comes."""
        rest, self._rest = self._rest, ""
        return rest

    def _beginning(self, text: str) -> int:
        """Where the longest end of ``text`` begins that is the beginning, and not the whole, of a secret."""
        found = len(text)
        for form in self._forms:
            place = text.find(form[0], max(0, len(text) - len(form) + 1))
            while 0 <= place < found:
                if form.startswith(text[place:]):
                    found = place
                place = text.find(form[0], place + 1)
        return found


def secret_values(named: Mapping[str, Json]) -> frozenset[str]:
    """The texts in parameters or environment variables that are secret by name, to be looked for in outputs."""
    found: set[str] = set()
    for name, value in named.items():
        _collect(name, value, found)
    return frozenset(found)


class Finding(msgspec.Struct, frozen=True):
    """A likely secret in source code. It never holds the secret itself."""

    line: int
    """From 1."""
    what: str


_LITERAL = re.compile(
    r"""(?<![\w.\-"'])(?P<quote>["']?)(?P<name>[A-Za-z_][\w.-]*)(?P=quote)\]?\s*"""
    r"""(?::\s*[A-Za-z_][\w.\[\]| ]*)?(?:=|<-|:)\s*[rRbBuUfF]{0,2}(?P<mark>["'])(?P<value>[^"'\n]+)(?P=mark)"""
)
_PLACEHOLDER = re.compile(
    r"(?i)<.*>|\$?\{.*\}|[x*.\-_?]+|your[\W_].*|change.?me|example.*|dummy|test|todo|\[redacted\]"
)


def find_secrets(source: str) -> tuple[Finding, ...]:
    """Likely secrets in source code of any language, at most one a line: a text written out for a name like a secret's,
    a URL with a password, or what has the shape of a well-known token. Placeholders are passed over."""
    found: dict[int, Finding] = {}
    for description, pattern in _SHAPES:
        for match in re.finditer(pattern, source):
            line = source.count("\n", 0, match.start()) + 1
            found.setdefault(line, Finding(line, description))
    for line, text in enumerate(source.split("\n"), 1):
        for match in _URL_PASSWORD.finditer(text):
            if not _PLACEHOLDER.fullmatch(match[2]):
                found.setdefault(line, Finding(line, "a URL with a password"))
        for match in _LITERAL.finditer(text):
            if is_secret_name(match["name"]) and not _PLACEHOLDER.fullmatch(match["value"].strip()):
                found.setdefault(line, Finding(line, f"a text written out for {match['name']!r}"))
    return tuple(found[line] for line in sorted(found))


def _redact_param(param: Param, secrets: Collection[str]) -> Param:
    value = redact_value(param.key, param.value, secrets)
    if isinstance(value, str):
        text = value if param.text == param.value else str(redact_value(param.key, param.text, secrets))
    elif isinstance(value, list | dict) and repr(value) != repr(param.value):
        text = str(value)
    elif _NUMBERS.match(param.text) or param.text == str(value):
        text = param.text
    else:
        # A client may send any text with what is no text.
        text = str(redact_value(param.key, param.text, secrets))
    if text == param.text and (value is param.value or repr(value) == repr(param.value)):
        return param
    return Param(param.key, value, text, redacted=True)


def _redact_input(use: Input, secrets: Collection[str]) -> Input:
    source = redact_text(use.dataset.source, secrets)
    dataset = use.dataset if source == use.dataset.source else msgspec.structs.replace(use.dataset, source=source)
    return Input(dataset, use.context, redact_tags(use.tags, secrets))


def _has_mark(text: str) -> bool:
    # Without a generator, whose calls would take longer than the looking.
    for mark in _MARKS:  # noqa: SIM110
        if mark in text:
            return True
    return False


def _redact_assigned(match: re.Match[str]) -> str:
    name, colours, value = match.groups()
    if _HARMLESS.match(value) or not is_secret_name(name):
        return match[0]
    return f"{name}={colours}{REDACTED}"


def _all_forms(secrets: Iterable[str]) -> frozenset[str]:
    return frozenset(form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret))


@lru_cache(maxsize=64)
def _pattern_of(secrets: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(_all_forms(secrets), key=len, reverse=True)
    # Without any, what matches nowhere.
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _forms(secret: str) -> tuple[str, ...]:
    return (
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
    )


def _collect(name: str, value: Json, found: set[str]) -> None:
    if isinstance(value, str):
        if is_secret_name(name) and len(value) >= SHORTEST_SECRET and value != REDACTED:
            found.add(value)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(name, item, found)
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(name if is_secret_name(name) else str(key), item, found)
