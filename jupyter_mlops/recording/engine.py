"""The engine behind ``papermill --engine mlops``.

Papermill imports this module whenever it is itself imported, from within its own import: so nothing of papermill is
imported here at the top.
"""

from __future__ import annotations

from typing import Any


class MLOpsEngine:
    """A papermill engine that records the run it executes."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **kwargs: Any) -> Any:
        from papermill.engines import NBClientEngine

        return NBClientEngine.execute_notebook(nb, kernel_name, **kwargs)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        from papermill.utils import nb_language

        return nb_language(nb, language)
