"""Object stores on this machine: what stands for S3, Google Cloud Storage and Azure Blob Storage."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import fsspec
import pytest

from tests import node
from tests.ports import free_ports
from tests.waiting import until

_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of every installation of the emulator: it is in its manual."""


class Store(NamedTuple):
    """A running store, whose bucket (or container) ``team`` is at ``location``.

    ``settings`` gives the environment with which it is reached at a port; ``took`` is what it says of a small object
    that it has stored.
    """

    location: str
    port: int
    settings: Callable[[int], Mapping[str, str]]
    took: bytes

    @property
    def environment(self) -> Mapping[str, str]:
        return self.settings(self.port)

    def by_way_of(self, port: int) -> Store:
        """The same store, reached at another port."""
        return self._replace(port=port)


@contextmanager
def s3() -> Iterator[Store]:
    (port,) = free_ports(1)
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield Store(
            "s3://team/artifacts", port, _s3_settings, b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: 0\r\n\r\n'
        )


def _s3_settings(port: int) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }


@contextmanager
def gcs() -> Iterator[Store]:
    (port,) = free_ports(1)
    program = str(Path(sys.executable).with_name("gcp-storage-emulator"))
    words = [program, "start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    with _running(words, port):
        took = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        yield Store("gs://team/artifacts", port, _gcs_settings, took)


def _gcs_settings(port: int) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "FSSPEC_GS": json.dumps({"token": "anon"})}


@contextmanager
def azure() -> Iterator[Store]:
    (port,) = free_ports(1)
    words = [
        *node.command("azurite-blob"),
        "--silent",
        "--disableTelemetry",
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
    ]
    with _running([*words, "--blobHost", "127.0.0.1", "--blobPort", str(port)], port):
        yield Store(
            "abfs://team/artifacts", port, _azure_settings, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
        )


def _azure_settings(port: int) -> dict[str, str]:
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": _AZURE_ACCOUNT,
        "AccountKey": _AZURE_KEY,
        "BlobEndpoint": f"http://127.0.0.1:{port}/{_AZURE_ACCOUNT}",
    }
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items()) + ";"}


STORES = {"s3": s3, "gcs": gcs, "azure": azure}


def use(store: Store, monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Have this process reach the store, which gets its bucket, with ``more`` in its environment."""
    for name, value in {**store.environment, **more}.items():
        monkeypatch.setenv(name, value)
    fsspec.config.conf.clear()
    fsspec.config.set_conf_env(fsspec.config.conf)
    file_system, _ = fsspec.core.url_to_fs(store.location, skip_instance_cache=True)
    # Else what other tests had opened is opened again, with the environment of then.
    type(file_system).clear_instance_cache()
    with suppress(Exception):  # it is there, in words of each driver's own
        file_system.mkdir("team")


@contextmanager
def _running(words: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, f"{words[0]} ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    try:
        until(answers, f"{words} answers")
        yield
    finally:
        process.kill()
        process.wait()
