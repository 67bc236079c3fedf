"""Makes the types of the API's requests and answers (``src/api/*.d.ts``) from what the service and the server extension
say of themselves. With ``--check``: fails when they are not as they would be made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from jupyter_mlops.server import description as server
from jupyter_mlops.service import description as service

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "node_modules" / ".bin" / "openapi-typescript"
# What has a default may be left out of requests, and is left out of answers.
OPTIONS = ("--alphabetize", "--default-non-nullable=false")
DOCUMENTS = {"schema.d.ts": service.document, "server.d.ts": server.document}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        for name, document in DOCUMENTS.items():
            source, made, kept = Path(folder, "openapi.json"), Path(folder, name), HERE / "src" / "api" / name
            source.write_bytes(document())
            subprocess.run([PROGRAM, source, "--output", made, *OPTIONS], check=True, capture_output=True)
            if not check:
                kept.write_bytes(made.read_bytes())
            elif made.read_bytes() != kept.read_bytes():
                stale.append(name)
    if stale:
        print(f"{', '.join(stale)}: not as the API is; run `python labextension/schema.py`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
