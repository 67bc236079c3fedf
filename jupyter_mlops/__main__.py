"""``python -m jupyter_mlops``: the command line, for environments whose scripts are not on PATH."""

from __future__ import annotations

from jupyter_mlops.cli.main import main

main()
