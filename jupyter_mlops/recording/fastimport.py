"""Starting up without needless work."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def uncollected() -> Iterator[None]:
    """Import many modules without garbage collections, which would walk all that is imported again and again and find
    nothing. Harmless in any process."""
    enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known and not gc.get_freeze_count():
            # Now it all counts as old, without having been walked: else the next collection, of the young, would do it.
            # Not each time: garbage would count as old too, and old garbage is looked for less and less often.
            gc.freeze()
            gc.unfreeze()
        if enabled:
            gc.enable()


_ELSEWHERE = ("azure", "boto3", "gcsfs", "github", "pyarrow.fs")


def import_papermill() -> None:
    """Import papermill without its support of notebooks that are elsewhere (Hadoop, object stores, GitHub), for which
    it would import all their clients, and without the engines and stores that other packages bring, where these are
    installed. In a process of this project's own only, as below."""
    blocked = [name for name in _ELSEWHERE if name not in sys.modules]
    sys.modules |= dict.fromkeys(blocked)  # type: ignore[arg-type]
    try:
        with _without_plugins():
            import papermill.iorw  # noqa: F401
    finally:
        for name in blocked:
            del sys.modules[name]
    if find_spec("black") is None:
        # Papermill would look for it each time that it writes parameters.
        sys.modules["black"] = None  # type: ignore[assignment]


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Have papermill find none of what other packages bring to it."""
    try:
        import entrypoints
    except ImportError:  # a version that finds them in another way
        yield
        return
    found, entrypoints.get_group_all = entrypoints.get_group_all, lambda _: []
    try:
        yield
    finally:
        entrypoints.get_group_all = found


_FORMATS = ("fqdn", "isoduration", "rfc3986_validator", "rfc3987_syntax", "uri_template", "webcolors")


def skip_format_checks() -> None:
    """Keep ``import nbformat`` from importing checks of text formats that notebooks never use.

    ``jsonschema`` checks the *format* of URLs, durations, colours and the like with optional packages where they are
    installed (Jupyter Server brings them), and importing them takes more than a second of CPU, most of it to compile
    one grammar. The schema of notebooks has no such format, and without the packages ``jsonschema`` leaves the checks
    out. Call this before anything imports ``nbformat``, in a process of our own only: a library must not decide this
    for its process.
    """
    for package in _FORMATS:
        if package not in sys.modules:
            sys.modules[package] = None  # type: ignore[assignment]


def import_runner() -> None:
    """Import what executes notebooks, without all that. In a process of this project's own only."""
    skip_format_checks()
    with uncollected():
        import_papermill()
