"""Tokens and what is kept of them."""

from __future__ import annotations

from jupyter_mlops.core.credentials import new_token, token_digest


def test_a_token_is_kept_by_its_digest() -> None:
    assert new_token("a_").startswith("a_")
    assert new_token("a_") != new_token("a_")
    assert token_digest(new_token("a_")) != token_digest(new_token("a_"))
    assert len(token_digest("\udcff")) == 64
