"""The command line's entry point, also as ``python -m jupyter_mlops`` where scripts are not on PATH."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, or say what a minimal installation lacks for it."""
    try:
        from jupyter_mlops.cli.main import main as command_line
    except ModuleNotFoundError as error:
        sys.exit(
            f"Error: the command line needs the package {error.name!r}, which {sys.prefix} does not have: install "
            "jupyter-mlops with its dependencies. Logging from notebook runs works without them"
        )
    command_line()


if __name__ == "__main__":
    main()
