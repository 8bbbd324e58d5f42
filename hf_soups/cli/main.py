"""The command line: its commands, each the same as a function in Python, and how errors are told."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any

import click

import hf_soups
from hf_soups import ranks
from hf_soups.cli.cache import cache
from hf_soups.cli.evaluate import evaluate
from hf_soups.cli.find import find
from hf_soups.cli.finetune import finetune
from hf_soups.cli.merge import merge
from hf_soups.cli.methods import methods
from hf_soups.cli.plan import plan
from hf_soups.cli.processes import alone
from hf_soups.cli.push import push
from hf_soups.errors import SoupError


def main() -> None:
    """Run the command line; known errors are one line on stderr and exit code 1."""
    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # unfinished folders are removed
    try:
        code = group(standalone_mode=False)
    except click.exceptions.Abort as error:
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        if not ranks.is_peer():
            click.echo("Interrupted; nothing was written." if interrupted else "Aborted!", err=True)
        code = 128 + signal.SIGINT if interrupted else 1
    except click.ClickException as error:
        if not ranks.is_peer():  # every process was called with the same mistake
            error.show()
        code = error.exit_code
    except (SoupError, OSError) as error:
        if os.environ.get("HF_DEBUG") == "1":
            raise
        text = str(error) if isinstance(error, SoupError) else _os_error(error)
        click.echo(f"Error: {text}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(hf_soups.__version__, prog_name="hf-soups")
@click.pass_context
def group(context: click.Context) -> None:
    """Model soups for the Hugging Face Hub: merge fine-tunes of one model, choose the best soup by
    measuring it, and push it back with its card."""
    if context.invoked_subcommand not in ("merge", "evaluate"):  # the commands that several processes share
        alone()


for command in (merge, plan, evaluate, find, finetune, cache, push, methods):
    group.add_command(command)


def _show_warning(message: Warning | str, *where: Any, **how: Any) -> None:
    """What people can do something about, without the line of code that it comes from."""
    if not ranks.is_peer():
        click.echo(f"Warning: {message}", err=True)


def _os_error(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
