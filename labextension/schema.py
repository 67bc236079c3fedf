"""Makes what the panel knows of the API from what the service and the server extension say of themselves: the types of
requests and answers, and the version. With ``--check``: fails when they are not as they would be made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jupyter_mlops._version import __version__
from jupyter_mlops.server import description as server
from jupyter_mlops.service import description as service

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "node_modules" / ".bin" / "openapi-typescript"
# What has a default may be left out of requests, and is left out of answers.
OPTIONS = ("--alphabetize", "--default-non-nullable=false")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, content in made():
        kept = HERE / "src" / "api" / name
        if not check:
            kept.write_text(content, encoding="utf-8")
        elif content != kept.read_text(encoding="utf-8"):
            stale.append(name)
    if stale:
        print(f"{', '.join(stale)}: not as the API is; run `python labextension/schema.py`", file=sys.stderr)
    return bool(stale)


def made() -> Iterator[tuple[str, str]]:
    """Each file's name and content."""
    yield "schema.d.ts", types(service.document())
    yield "server.d.ts", types(server.document())
    yield (
        "version.ts",
        f"/** Of the package that this is built into. */\nexport const VERSION = '{__version__}';\n",
    )


def types(document: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "openapi.json"), Path(folder, "types.d.ts")
        source.write_bytes(document)
        subprocess.run([PROGRAM, source, "--output", target, *OPTIONS], check=True, capture_output=True)
        return target.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
