"""Object stores on this machine: what stands for S3, Google Cloud Storage and Azure Blob Storage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import fsspec

from tests.ports import free_ports
from tests.waiting import until

AZURITE = Path(__file__).parents[2] / "labextension" / "node_modules" / ".bin" / "azurite-blob"
_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of every installation of the emulator: it is in its manual."""


class Store(NamedTuple):
    """A running store. With ``environment`` its bucket (or container) ``team`` is at ``location``."""

    location: str
    port: int
    environment: Mapping[str, str]


@contextmanager
def s3() -> Iterator[Store]:
    (port,) = free_ports(1)
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        # What was opened before by this process is kept by fsspec, with the address of another store.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield Store("s3://team/artifacts", port, s3_environment(port))


def s3_environment(port: int) -> dict[str, str]:
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
        environment = {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
            "FSSPEC_GS": json.dumps({"token": "anon"}),
        }
        yield Store("gs://team/artifacts", port, environment)


@contextmanager
def azure() -> Iterator[Store]:
    (port,) = free_ports(1)
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or "node"
    words = [node, str(AZURITE.resolve()), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck"]
    with _running([*words, "--blobHost", "127.0.0.1", "--blobPort", str(port)], port):
        endpoint = f"http://127.0.0.1:{port}/{_AZURE_ACCOUNT}"
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": _AZURE_ACCOUNT,
            "AccountKey": _AZURE_KEY,
            "BlobEndpoint": endpoint,
        }
        connection = ";".join(f"{name}={value}" for name, value in parts.items()) + ";"
        yield Store("abfs://team/artifacts", port, {"AZURE_STORAGE_CONNECTION_STRING": connection})


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
