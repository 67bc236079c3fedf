"""On a JupyterHub: the service as an application of its own, and who its callers are."""
