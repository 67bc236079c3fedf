"""MLflow's own client against a real service."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from tests.service.inprocess import Running


@pytest.fixture
def tracking(service: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A service that MLflow tracks to, as ``ann``."""
    # The client sets both by itself, too, for the processes that it starts.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", service.url)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", service.url)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", service.token("ann"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return service


@pytest.fixture
def client(tracking: Running) -> MlflowClient:
    """A client of ``ann``."""
    return MlflowClient(tracking.url)
