"""YAML scalars as people mean them, and no way to crash the parser."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hf_soups import RecipeError
from hf_soups.recipe.strict_yaml import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0777", 777),
        ("-12", -12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("2024-13-45", "2024-13-45"),
        ("5e-5", 5e-5),
        ("no", "no"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    found = parse(f"seed: {text}")["seed"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("scalar", ["!!int foo", "!!int 1:30", "!!bool abc", "!!timestamp abc", "!!float x", "!!set 3"])
def test_a_value_that_is_not_what_its_tag_says_is_a_recipe_error(scalar: str) -> None:
    with pytest.raises(RecipeError, match="not valid YAML"):
        parse(f"seed: {scalar}")


@given(text=st.text("!int:_-+.0xoe19abc{}[]&*?|>'\"#%\n ", max_size=30))
@example(text="9" * 5000)
def test_any_text_parses_or_is_a_recipe_error(text: str) -> None:
    with suppress(RecipeError):
        parse(text)
