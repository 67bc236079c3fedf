"""``jupyter mlops service``: hands what was typed to the service's own application."""

from __future__ import annotations

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.terminal import unread


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--ip", metavar="ADDRESS", help="The address to listen at. Default: 127.0.0.1.")
@click.option("--port", "-p", metavar="PORT", help="The port to listen at; 0 takes a free one. Default: 10380.")
@click.option("--base-url", metavar="PATH", help="The path below which the service is. Default: /.")
@click.option("--db", metavar="URL", help="The database. Default: that of --url, else that of all commands.")
@click.option("--artifacts", metavar="URL", help="Where files are: a folder or an fsspec URL.")
@click.option("--tokens", metavar="FILE", help="The file of tokens that count; with it no hub is asked.")
@click.option("--config", metavar="FILE", help="A configuration file. Default: jupyter_mlops_service_config.py.")
@click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR. Default: INFO.")
@click.option("--generate-config", is_flag=True, help="Write a configuration file with all settings, and end.")
@click.argument("settings", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def service(
    connection: Connection, /, *, generate_config: bool, settings: tuple[str, ...], **given: str | None
) -> None:
    """Serve a store over HTTP until Ctrl-C or SIGTERM: as a service of a JupyterHub, which says who callers are, or
    for those who have a token of --tokens. One line on standard output says when it is ready, and where.

    Every setting of the configuration file can be given here too, as --MLOpsService.threads=64.

    \b
      jupyter mlops token create ann --file tokens.json --groups churn
      jupyter mlops service --db sqlite:////data/mlops.db --artifacts /data/artifacts --tokens tokens.json
    """
    from jupyter_mlops.hub.application import MLOpsService

    def tell(url: str) -> None:
        with unread():
            click.echo(f"jupyter-mlops is ready at {url}")

    given["db"] = given["db"] or connection.url
    given["artifacts"] = given["artifacts"] or connection.artifacts
    argv = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    flags = ["--generate-config"] if generate_config else []
    MLOpsService.launch_instance([*argv, *flags, *settings], when_ready=tell)
