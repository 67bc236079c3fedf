"""On a hub, MLflow in kernels tracks to the service as the user of their server: where, the hub's configuration says;
with which token, only the server knows."""

from __future__ import annotations

import os

from jupyter_mlops.tracker import location


def hand_over_token(url: str) -> None:
    """Leave the token for the service at ``url`` where MLflow in kernels, which inherit this process's environment,
    looks for it; nothing is done where MLflow tracks elsewhere, or has a token or a password already."""
    given = os.environ.get(location.MLFLOW_URI, "").rstrip("/")
    if not given or given != url.rstrip("/") or not location.is_service(url):
        return
    if location.MLFLOW_TOKEN in os.environ or "MLFLOW_TRACKING_USERNAME" in os.environ:
        return
    token = location.token_for(url)
    if token is not None:
        os.environ[location.MLFLOW_TOKEN] = token
