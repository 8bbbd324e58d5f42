"""hf-soups …: the only place that prints."""

from hf_soups.cli.main import main

__all__ = ["main"]
