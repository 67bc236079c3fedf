"""A remote tracker's nouns: methods made from the declarations in :mod:`..operations`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_mlops.core.arguments import argument_checks
from jupyter_mlops.tracker.operations import OPERATIONS, Operation
from jupyter_mlops.tracker.remote.client import Client


class Noun:
    """The operations of one noun of a service; subclasses say which."""

    noun: str

    def __init__(self, client: Client) -> None:
        self._client = client

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    def __init_subclass__(cls) -> None:
        for operation in OPERATIONS:
            if operation.noun == cls.noun and operation.name not in vars(cls):
                setattr(cls, operation.name, method_of(operation))


def method_of(operation: Operation) -> Callable[..., Any]:
    """A method that has the service of its noun's client do ``operation``."""

    # Types are looked at when first needed: that takes longer than to import this.
    @functools.cache
    def declared() -> Any:
        return operation.signature, argument_checks(operation.function)

    @functools.wraps(operation.function)
    def method(self: Any, *args: Any, **named: Any) -> Any:
        signature, checks = declared()
        given = signature.bind(*args, **named).arguments
        return self._client.call(operation, {name: checks[name](value, name) for name, value in given.items()})

    return method
