"""Identifiers: time-ordered UUIDs (RFC 9562, version 7) as 32 hex digits, and readable run names."""

from __future__ import annotations

import os
import re
import time

_ADJECTIVES = (
    "able amber brave bright brisk calm clear clever crisp dapper deft eager early fair fleet fond fresh gentle "
    "glad golden grand happy hardy honest humble jolly keen kind light lively loyal lucid lucky mellow merry mild "
    "modest neat nimble noble patient placid plucky polite proud quick quiet rapid ready rustic sage serene sharp "
    "silent silver sleek smart snug solid spry stable steady still stout sunny swift tidy trusty upbeat vivid "
    "warm wise witty zesty "
).split()
_ANIMALS = (
    "ant asp auk bat bear bee boar carp cat cod colt crab crane crow deer dove duck eagle eel elk ewe falcon fawn "
    "finch fox frog gull hare hawk hen heron hound ibex ibis jay kite koala lark lion lynx mink mole moose moth "
    "mouse newt orca otter owl ox panda perch pike pony puma quail ram raven robin rook seal shark shrew skunk "
    "sloth snail stork swan tiger toad trout vole wasp whale wolf wren yak zebra "
).split()

ID_LENGTH = 32
_WHOLE = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}").fullmatch


def new_id() -> str:
    """A new identifier: 48 bits of milliseconds, 12 bits of their fraction (the RFC's method 3), then random bits; so
    that ids of one machine sort by their creation."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (nanoseconds << 12) // 1_000_000 << 64
    value |= 0x2 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    return f"{value:0{ID_LENGTH}x}"


def is_id(text: object) -> bool:
    """Whether ``text`` has the form of a whole identifier (32 lower-case hex digits)."""
    return isinstance(text, str) and _WHOLE(text) is not None


def new_run_name() -> str:
    """A name people can say, like ``brave-otter-418``; not unique by itself."""
    # Not of `random`: a notebook's seed must neither decide the name nor be advanced by it.
    rest, adjective = divmod(int.from_bytes(os.urandom(8), "big"), len(_ADJECTIVES))
    rest, animal = divmod(rest, len(_ANIMALS))
    return f"{_ADJECTIVES[adjective]}-{_ANIMALS[animal]}-{rest % 1000}"
