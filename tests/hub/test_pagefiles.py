"""The files of the page, as browsers get them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import requests

from jupyter_mlops.hub import pagefiles
from jupyter_mlops.service.app import Route, mixed
from jupyter_mlops.service.handlers import Service
from tests.service.inprocess import running

CONTENT = b"// what was built\n" * 100


def routes(service: Service) -> list[Route]:
    return [(r"/page/([^/]+)", mixed(pagefiles.PageFileHandler, service), {"service": service})]


def test_files_are_compressed_and_kept_for_ever(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tmp_path / "page"
    built.mkdir()
    for name, content in {"main.01.js": CONTENT, "note.txt": b"x", "manifest.json": b"{}", ".js": b""}.items():
        (built / name).write_bytes(content)
    (tmp_path / "secret.js").write_bytes(b"")
    monkeypatch.setattr(pagefiles, "FOLDER", built)
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, more=routes) as service:
        url = f"{service.url}/page"
        plain = requests.get(f"{url}/main.01.js", headers={"Accept-Encoding": "identity"}, timeout=10)
        assert (plain.content, plain.headers.get("Content-Encoding")) == (CONTENT, None)
        packed = requests.get(f"{url}/main.01.js", headers={"Accept-Encoding": "gzip"}, timeout=10, stream=True)
        raw = packed.raw.read(decode_content=False)
        assert len(raw) < len(CONTENT)
        assert gzip.decompress(raw) == CONTENT
        assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert packed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert packed.headers["X-Content-Type-Options"] == "nosniff"
        assert packed.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        again = {"If-None-Match": packed.headers["ETag"], "Accept-Encoding": "gzip"}
        assert requests.get(f"{url}/main.01.js", headers=again, timeout=10).status_code == 304
        for name in ("note.txt", "manifest.json", ".js", "none.js", "..%2Fsecret.js", "main.01.js%00.js"):
            assert requests.get(f"{url}/{name}", timeout=10).status_code == 404, name


def test_what_was_built_is_read_anew(tmp_path: Path) -> None:
    assert pagefiles.manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"scripts": ["main.01.js"], "styles": []}')
    assert pagefiles.manifest(tmp_path) == pagefiles.Manifest(scripts=("main.01.js",), styles=())
