"""The process that foreign code runs in: ``python -m jupyter_mlops.checks.enclosed FD``.

It reads an :class:`Order` from standard input, encloses itself, and only then imports the function and calls it. To the
file descriptor FD it writes an :class:`~jupyter_mlops.checks.isolation.Isolation` and then an :class:`Answer`, one JSON
document a line. Foreign code can write there too: the first line is ours, the second is what that code makes of it.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

import msgspec

from jupyter_mlops.checks.isolation import Enclosure, Isolation, confine, enter
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.records import Json


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    function: str
    """``module:name``; called with the arguments by name."""
    arguments: dict[str, Json] = {}
    enclosure: Enclosure


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    value: Json = None
    """What the function gave; of an error, None."""
    error: str | None = None
    """Why it gave nothing, one sentence."""
    kind: str = ""
    """The class of the error."""


def main(descriptor: int) -> None:
    """Do the order."""
    os.set_inheritable(descriptor, False)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    processes, network = enter(order.enclosure)
    files = confine(order.enclosure)
    isolation = Isolation(files=files, user=order.enclosure.no_account, processes=processes, network=network)
    _write(descriptor, isolation)
    os.chdir(order.enclosure.work)
    _write(descriptor, _answer(order))


def _answer(order: Order) -> Answer:
    module, _, name = order.function.partition(":")
    try:
        return Answer(value=getattr(import_module(module), name)(**order.arguments))
    except MLOpsError as error:
        return Answer(error=error.message, kind=type(error).__name__)
    except MemoryError:
        return Answer(error="it needs more memory than it may have", kind=MemoryError.__name__)
    except BaseException as error:  # noqa: BLE001 - foreign code can raise anything, SystemExit too
        traceback.print_exc()
        return Answer(error=f"{type(error).__name__}: {error}", kind=type(error).__name__)


def _write(descriptor: int, document: msgspec.Struct) -> None:
    with open(descriptor, "ab", buffering=0, closefd=False) as channel:
        channel.write(msgspec.json.encode(document) + b"\n")


if __name__ == "__main__":
    # Not the first entry of where modules are looked for: foreign code writes there.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry) != Path.cwd()]
    main(int(sys.argv[1]))
