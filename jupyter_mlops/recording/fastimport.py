"""Start-up of processes that are this project's own."""

from __future__ import annotations

import sys


def import_papermill() -> None:
    """Import papermill without its support of notebooks on Hadoop, for which it would import all of ``pyarrow``, where
    that is installed. In a process of our own only, as below."""
    blocked = "pyarrow.fs" not in sys.modules
    if blocked:
        sys.modules["pyarrow.fs"] = None  # type: ignore[assignment]
    try:
        import papermill  # noqa: F401
    finally:
        if blocked:
            del sys.modules["pyarrow.fs"]


def skip_iri_grammar() -> None:
    """Keep ``import nbformat`` from compiling a grammar that notebooks never use.

    ``jsonschema`` checks the *format* of internationalized URLs with the optional package ``rfc3987_syntax`` where it
    is installed (Jupyter Server brings it), and importing that compiles a grammar for a second of CPU. The schema of
    notebooks has no such format, and without the package ``jsonschema`` leaves the check out. Call this before
    anything imports ``nbformat``, in a process of our own only: a library must not decide this for its process.
    """
    if "rfc3987_syntax" not in sys.modules:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
