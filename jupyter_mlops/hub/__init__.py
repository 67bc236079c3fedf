"""On a JupyterHub: the service as an application of its own, and who its callers are."""

from jupyter_mlops.hub.configuration import configure

__all__ = ["configure"]
