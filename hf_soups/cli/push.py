"""`hf-soups push`: publishes a folder that is there."""

from __future__ import annotations

import click

from hf_soups import pipeline


@click.command()
@click.argument("folder", metavar="DIR")
@click.argument("repo", metavar="ID")
@click.option("--private/--no-private", default=False, help="Visibility of a repository that the push creates.")
@click.option("--create-pr", is_flag=True, help="Publish as a pull request.")
@click.option("--token", metavar="T", help="Hub token; default: HF_TOKEN or the login.")
def push(folder: str, repo: str, private: bool, create_pr: bool, token: str | None) -> None:
    """Publish a finished soup folder as one commit."""
    click.echo(pipeline.push(folder, repo, private=private, create_pr=create_pr, token=token))
