"""Streaming: the Hub's files are read by range and never kept; what cannot be done so, and what is not proven then."""

from __future__ import annotations

from hf_soups.errors import RecipeError
from hf_soups.recipe import Recipe


def check_stream(recipe: Recipe, *, uploads: bool = False, check: bool | None = None) -> None:
    """RecipeError if the recipe, or the check that it loads, needs a model whole on this disk.

    uploads: each finished file goes to the Hub and is removed here.
    """
    asked = [name for name in ("select", "evaluate") if getattr(recipe, name) is not None]
    if asked:
        refuse(" and ".join(asked))
    if uploads and check:
        raise RecipeError(
            "--check loads the whole folder, which a soup that is streamed to the Hub never has; add -o DIR, or leave "
            "out --check"
        )


def refuse(what: str) -> None:
    raise RecipeError(
        f"{what} (--dataset) must run the models, which takes them whole, and --stream reads only ranges of them; "
        "leave out --stream, or stream a recipe without this and measure the soup afterwards with `hf-soups evaluate`"
    )


def remarks(streamed: bool, uploads: bool) -> list[str]:
    """What is less certain about a soup that was made so, for plan and card."""
    said = []
    if streamed:
        said.append(
            "streamed: only ranges of the ingredients' files were read, so that their checksums on the Hub were not "
            "verified"
        )
    if uploads:
        said.append(
            "uploaded file by file, so that it was not loaded with transformers before it was published; its checksums "
            "on the Hub were compared"
        )
    return said
