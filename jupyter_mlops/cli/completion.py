"""``jupyter mlops completion``: click's own completion script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL, for its start-up file.

    \b
      bash  eval "$(jupyter-mlops completion bash)"    in ~/.bashrc
      zsh   eval "$(jupyter-mlops completion zsh)"     in ~/.zshrc
      fish  jupyter-mlops completion fish | source     in ~/.config/fish/config.fish

    It completes commands, options, and the names of runs, experiments and models for `jupyter-mlops`.
    """
    from jupyter_mlops.cli.main import COMPLETE_VARIABLE, SCRIPT

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"click has no completion for {shell!r}")
    click.echo(script(ctx.find_root().command, {}, SCRIPT, COMPLETE_VARIABLE).source())
