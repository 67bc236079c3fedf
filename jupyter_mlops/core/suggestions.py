"""What somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def closest(given: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that is most like ``given``, whatever the case; None when none is close."""
    # Only those who erred wait for it.
    import difflib

    by_fold: dict[str, str] = {}
    for name in known:
        by_fold.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(given.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the closest of ``known``, or nothing when none is close."""
    close = closest(given, known)
    return "" if close is None else f"; did you mean {close!r}?"
