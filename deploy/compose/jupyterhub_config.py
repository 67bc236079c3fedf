"""The hub of compose.yaml: users sign up and an administrator lets them in; each has a container."""

# ruff: noqa: F821 - `c` is given by JupyterHub
import os

from jupyter_mlops.hub import configure

# The proxy is a container of its own, so that a restart of the hub cuts nobody off.
c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy:8001"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.db_url = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/srv/jupyterhub/cookie_secret"

c.JupyterHub.authenticator_class = "native"
c.Authenticator.admin_users = {os.environ["HUB_ADMIN"]}
c.Authenticator.allow_all = True  # of those whom an administrator has let in, at /hub/authorize

c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.image = os.environ["SERVER_IMAGE"]
c.DockerSpawner.network_name = os.environ["SERVER_NETWORK"]
c.DockerSpawner.volumes = {"jupyterhub-user-{username}": "/home/jovyan"}
c.DockerSpawner.remove = True

# The service is a container of its own too.
c.JupyterHub.services = [
    {
        "name": "mlops",
        "url": "http://mlops:10380",
        "api_token": os.environ["MLOPS_API_TOKEN"],
        "display": True,
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": ["custom:mlops:admin"],
    },
    {"name": "mlops-worker", "api_token": os.environ["MLOPS_WORKER_TOKEN"]},
]
configure(c, url="http://mlops:10380")

# Who decides, and who administers what was recorded.
c.JupyterHub.load_roles += [
    {
        "name": "mlops-worker",
        "services": ["mlops-worker"],
        "scopes": ["access:services!service=mlops", "custom:mlops:admin"],
    },
    {"name": "mlops-admins", "users": [os.environ["HUB_ADMIN"]], "scopes": ["custom:mlops:admin"]},
]
