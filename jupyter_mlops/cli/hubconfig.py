"""``jupyter mlops hub-config``: what a hub's configuration says about the service."""

from __future__ import annotations

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.options import json_option
from jupyter_mlops.cli.terminal import emit_json


@click.command("hub-config")
@click.option("--name", default="mlops", show_default=True, metavar="NAME", help="The name of the service.")
@click.option("--service-url", metavar="URL", help="Where the service listens. Default: http://127.0.0.1:10380.")
@click.option(
    "--tracking-url",
    metavar="URL",
    help="Where notebook servers reach it. Default: at --service-url, which is right on one machine.",
)
@click.option("--hub-base-url", default="/", show_default=True, metavar="PATH", help="JupyterHub.base_url.")
@click.option("--no-mlflow", is_flag=True, help="Leave MLflow in kernels to track elsewhere.")
@click.option("--z2jh", is_flag=True, help="As values of the Zero to JupyterHub chart; the service has its own pods.")
@json_option
@click.pass_obj
def hub_config(
    connection: Connection,
    *,
    name: str,
    service_url: str | None,
    tracking_url: str | None,
    hub_base_url: str,
    no_mlflow: bool,
    z2jh: bool,
    as_json: bool,
) -> None:
    """Print what jupyterhub_config.py needs for the service. --url and --artifacts say where it keeps things."""
    from jupyter_mlops.hub import configuration
    from jupyter_mlops.tracker.location import ARTIFACTS_URL, TRACKING_URL

    kept = {TRACKING_URL: connection.url, ARTIFACTS_URL: connection.artifacts}
    settings = configuration.hub_config(
        name=name,
        url=service_url or (configuration.CLUSTER_URL if z2jh else configuration.URL),
        tracking_url=tracking_url,
        hub_base_url=hub_base_url,
        environment={key: value for key, value in kept.items() if value},
        managed=not z2jh,
        mlflow=not no_mlflow,
    )
    values = configuration.z2jh_values(settings) if z2jh else settings
    if as_json:
        emit_json(values)
    else:
        click.echo(configuration.yaml_text(values) if z2jh else configuration.python_text(settings), nl=False)
