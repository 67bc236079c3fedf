"""Secrets: what is taken for one, what is not, and that none is left in what is written."""

from __future__ import annotations

import json
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core import values
from jupyter_mlops.core.records import Param
from jupyter_mlops.core.redaction import (
    REDACTED,
    Withheld,
    find_secrets,
    is_secret_name,
    masked_url,
    redact_environment,
    redact_params,
    redact_text,
    redact_url,
    redact_value,
    secret_values,
)


@pytest.mark.parametrize(
    "name",
    "password PASSWORD db_password dbPassword db.password PGPASSWORD password2 MYSQL_PWD pwd passwd passphrase secret "
    "client_secret AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID api_key apiKey API-KEY apikey OPENAI_API_KEY private_key "
    "token hf_token GITHUB_TOKEN JUPYTERHUB_API_TOKEN credentials auth AUTH_HEADER connection_string connectionString "
    "AZURE_STORAGE_CONNECTION_STRING dsn db_pass".split(),
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "max_tokens tokens n_tokens tokenizer tokenize token_pattern token_count pad_token eos_token author authors "
    "authority keyboard monkey key keys primary_key sort_key secretary compass pass n_passes PWD OLDPWD SSH_AUTH_SOCK "
    "auth_method token_url password_file lr depth".split(),
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


AWS = "AKIA" + "ABCDEFGHIJKLMNOP"
GITHUB = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("key", "value", "redacted"),
    [
        ("password", "hunter2", REDACTED),
        ("api_key", "123456", REDACTED),
        ("token", ["abc", 1], [REDACTED, 1]),
        ("config", {"password": "x", "user": "me"}, {"password": REDACTED, "user": "me"}),
        ("secrets", {"a": "x", "b": {"c": "y", "n": 3}}, {"a": REDACTED, "b": {"c": REDACTED, "n": 3}}),
        ("database", "postgresql://me:pw@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("note", f"use {AWS}", f"use {REDACTED}"),
    ],
)
def test_param_redacted(key: str, value: object, redacted: object) -> None:
    text = redacted if isinstance(redacted, str) else str(redacted)
    assert redact_params([values.param(key, value)]) == (Param(key, redacted, text, redacted=True),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", 12345),
        ("token", True),
        ("api_key", None),
        ("secret", 0.5),
        ("password", ""),
        ("max_tokens", "4096"),
        ("tokenizer", "bert-base"),
        ("shape", (1, 2)),
        ("x", float("nan")),
        ("url", "https://host/path?page=2"),
    ],
)
def test_param_kept(key: str, value: object) -> None:
    param = values.param(key, value)
    assert redact_params([param])[0] is param


def test_a_text_of_its_own_is_redacted_too() -> None:
    given = [Param("password", None, "hunter2"), Param("secret", 5, "hunter2"), Param("secret", [0.5, 1], "[0.5 1. ]")]
    assert redact_params(given) == (
        Param("password", None, REDACTED, redacted=True),
        Param("secret", 5, REDACTED, redacted=True),
        given[2],
    )


def test_already_redacted_stays() -> None:
    param = Param("password", REDACTED, REDACTED, redacted=True)
    assert redact_params([param]) == (param,)


def test_environment() -> None:
    found = redact_environment(
        {
            "PWD": "/home/me",
            "JPY_API_TOKEN": "abc",
            "DATABASE_URL": "postgresql://me:pw@host/db",
            "PATH": "/bin:/usr/bin",
            "EMPTY_SECRET": "",
        }
    )
    assert found == {
        "PWD": "/home/me",
        "JPY_API_TOKEN": REDACTED,
        "DATABASE_URL": f"postgresql://me:{REDACTED}@host/db",
        "PATH": "/bin:/usr/bin",
        "EMPTY_SECRET": "",
    }


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("redis://:pw@host:6379/0", f"redis://:{REDACTED}@host:6379/0"),
        ("see https://u:p@ss@h/x now", f"see https://u:{REDACTED}@h/x now"),
        ("https://h/x?token=abc&page=2", f"https://h/x?token={REDACTED}&page=2"),
        ("host=h password=pw dbname=d", f"host=h password={REDACTED} dbname=d"),
        ("AccountName=a;AccountKey=abc==;X=y", f"AccountName=a;AccountKey={REDACTED};X=y"),
        ("git clone ssh://git@host/x", "git clone ssh://git@host/x"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("f(password=None, max_tokens=5)", "f(password=None, max_tokens=5)"),
        ("f(x=1, password=False,", "f(x=1, password=False,"),
        (
            "f(x, password\x1b[38;5;28m=\x1b[39m\x1b[38;5;28;01mFalse\x1b[39;00m,",
            "f(x, password\x1b[38;5;28m=\x1b[39m\x1b[38;5;28;01mFalse\x1b[39;00m,",
        ),
        (" password=\x1b[38;5;28;01mFalse\x1b[39m,", " password=\x1b[38;5;28;01mFalse\x1b[39m,"),
        (" password=\x1b[38;5;28mhunter\x1b[39m", f" password=\x1b[38;5;28m{REDACTED}\x1b[39m"),
        ("time 12:30 me@example.org", "time 12:30 me@example.org"),
    ],
)
def test_urls_and_connection_strings(text: str, redacted: str) -> None:
    assert redact_url(text) == redacted
    assert redact_url(redacted) == redacted


TOKENS = [
    *(AWS, AWS.replace("AKIA", "ASIA"), GITHUB, *(GITHUB.replace("p_", f"{kind}_") for kind in "ousr"), JWT),
    *("github_pat_" + "a_1" * 8, "glpat-" + "a1" * 10, "xoxb-" + "1a" * 5, "AIza" + "aB3_-" * 7, "hf_" + "aB3" * 11),
    *("pypi-" + "aB" * 25, "npm_" + "aB" * 18, "dapi" + "0f" * 16, "sk-proj-" + "a-_1" * 8, "sk-" + "aB" * 16),
    *("sk_live_" + "a1" * 8, "rk_live_" + "a1" * 8),
]


@pytest.mark.parametrize("token", TOKENS)
def test_shapes_of_tokens(token: str) -> None:
    assert redact_text(f"before {token} after") == f"before {REDACTED} after"
    assert redact_text(json.dumps({"a": token})) == json.dumps({"a": REDACTED})
    (found,) = find_secrets(f"# line one\nx = f('{token}')\n")
    assert found.line == 2
    assert token not in found.what


def test_private_key_over_lines() -> None:
    text = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nb"
    assert redact_text(text) == f"a\n{REDACTED}\nb"
    assert [finding.line for finding in find_secrets(text)] == [2]


def test_known_secrets_in_all_their_forms() -> None:
    secret = "s3\"cr'et\n/é"
    forms = [secret, repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, safe="")]
    for text in forms:
        assert "cr" not in redact_text(f"x {text} y", [secret])


def test_longer_secret_first_and_short_ones_left() -> None:
    assert redact_text("abcdefgh abcdef ab", ["abcdef", "abcdefgh", "ab"]) == f"{REDACTED} {REDACTED} ab"


secret_texts = st.text(st.characters(categories=["Ll", "Nd"]), min_size=6, max_size=20)


@given(secret_texts, st.lists(st.text(max_size=10), max_size=4))
def test_no_secret_is_left(secret: str, around: list[str]) -> None:
    text = secret.join(["", *around, ""])
    if secret not in REDACTED:
        # The marker itself may make up a part of a text around it.
        assert secret not in redact_text(text, [secret]).replace(REDACTED, "\0")


@given(st.text(max_size=80))
def test_texts_are_redacted_once_and_for_all(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once
    find_secrets(text)


def test_secret_values_to_look_for() -> None:
    named = {
        "password": "hunter2hunter2",
        "user": "somebody",
        "token": ["abcdefgh", 5],
        "config": {"api_key": "ijklmnop", "name": "qrstuv"},
        "pwd": "short",
        "secret": REDACTED,
    }
    assert secret_values(named) == {"hunter2hunter2", "abcdefgh", "ijklmnop"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )
)
def test_only_texts_are_replaced(value: object) -> None:
    def shape(item: object) -> object:
        if isinstance(item, str):
            return "text"
        if isinstance(item, list):
            return [shape(inner) for inner in item]
        return {key: shape(inner) for key, inner in item.items()} if isinstance(item, dict) else repr(item)

    assert shape(redact_value("password", value)) == shape(value)


@pytest.mark.parametrize(
    "line",
    [
        "password = 'hunter2'",
        'os.environ["API_TOKEN"] = "abc123"',
        "connect(user='me', password='abc')",
        'd = {"client_secret": "zzz"}',
        "token: str = 'abcdef'",
        "api_key <- 'abc'",
        "engine = create_engine('postgresql://u:pw@host/db')",
    ],
)
def test_secret_found_in_source(line: str) -> None:
    (found,) = find_secrets(f"x = 1\n{line}\ny = 2")
    assert found.line == 2
    assert "hunter2" not in str(msgspec.to_builtins(found))


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['DB_PASSWORD']",
        "password = getpass('Password: ') + 'x'",
        "password = ''",
        "password = '<your password>'",
        "token = 'your-token-here'",
        "api_key = '${API_KEY}'",
        "tokenizer = 'bert'",
        "pad_token = '<pad>'",
        "max_tokens = 100",
        "author = 'me'",
        "url = 'postgresql://user:{password}@host/db'",
    ],
)
def test_no_secret_in_source(line: str) -> None:
    assert find_secrets(line) == ()


@pytest.mark.parametrize(
    "piece", ["a", "a=b ", "://a:", "eyJ", "-eyJaaaaaaaaaa", "-----BEGIN ", "sk-", ":", "a:b ", "'a"]
)
def test_long_texts_take_no_long_time(piece: str) -> None:
    # A pattern that looked at each character from each start would take hours for this.
    text = piece * (300_000 // len(piece))
    redact_text(text, ["secretsecret"])
    find_secrets(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s:e@host/d", "postgresql://ann:***@host/d"),
        ("postgresql://ann:p/a?s@w@host/d", "postgresql://ann:***@host/d"),
        ("postgresql://host/d?sslpassword=hunter&x=1", f"postgresql://host/d?sslpassword={REDACTED}&x=1"),
        ("https://ann:secret@host/hub", "https://ann:***@host/hub"),
        ("postgresql://ann@host/d", "postgresql://ann@host/d"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_known_secrets_are_found_under_innocent_names() -> None:
    (found,) = redact_params([values.param("note", "the key is hunter2hunter2")], ["hunter2hunter2"])
    assert (found.text, found.redacted) == (f"the key is {REDACTED}", True)
    assert redact_value("note", {"a": ["hunter2hunter2"]}, ["hunter2hunter2"]) == {"a": [REDACTED]}


ab = st.text("ab", min_size=6, max_size=9)


@given(st.lists(ab, max_size=3), st.lists(st.text("ab", max_size=6) | ab, max_size=12))
def test_a_text_in_pieces_shows_no_secret(secrets: list[str], pieces: list[str]) -> None:
    withheld = Withheld(secrets)
    given_out = [withheld.add(piece) for piece in pieces] + [withheld.end()]
    assert "".join(given_out) == "".join(pieces)
    shown = "".join(redact_text(part, secrets) for part in given_out)
    assert not any(secret in shown for secret in secrets)


def test_only_what_may_become_a_secret_is_held_back() -> None:
    withheld = Withheld(["swordfish", 'qu"ote'])
    assert [withheld.add(piece) for piece in ("a s", "wo", "rd", "s", "\n", 'qu\\"ot')] == [
        "a ",
        "",
        "",
        "sword",
        "s\n",
        "",
    ]
    assert withheld.end() == 'qu\\"ot'
    assert withheld.end() == ""
