"""What plain YAML values must be, and how it is said where they are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from hf_soups.errors import RecipeError, did_you_mean


def mapping(value: Any, where: str, kind: type | None = None) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{where}: keys and values are needed, got {shown(value)}")
    if kind is not None:
        known(value, [f.name for f in fields(kind)], where)
    return dict(value)


def known(content: Mapping[str, Any], keys: list[str], where: str) -> None:
    for key in content:
        if key not in keys:
            raise RecipeError(f"{where}: unknown key {key!r}{did_you_mean(key, keys)}")


def sequence(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise RecipeError(f"{where}: a list is needed, got {shown(value)}")
    return value


def string(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise RecipeError(f"{where}: a text is needed, got {shown(value)}")
    return value


def strings(content: Mapping[str, Any], where: str) -> dict[str, str]:
    return {k: string(v, f"{where}: {k}") for k, v in content.items() if v is not None}


def integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecipeError(f"{where}: a whole number is needed, got {shown(value)}")
    return value


def number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{where}: a number is needed, got {shown(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise RecipeError(f"{where}: {shown(value)} is larger than a float can be") from error


def boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"{where}: true or false, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def one_of(value: str, options: Iterable[str], where: str) -> str:
    """`value` if it is an option, else a RecipeError with a suggestion."""
    choices = list(options)
    if value not in choices:
        raise RecipeError(f"{where}: unknown value {value!r}{did_you_mean(str(value), choices)}")
    return value
