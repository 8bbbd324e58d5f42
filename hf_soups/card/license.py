"""The licence of a soup: what all its ingredients say, or what the user says; never a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hf_soups.checkpoint import Origin
from hf_soups.errors import SoupError

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


def decide_license(origins: Iterable[Origin], asked: str | None = None) -> tuple[str | None, tuple[str, ...]]:
    """The soup's licence and what its user should be told about it.

    origins: of everything whose weights are in the soup.
    asked: the user's word, which always holds.

    Raises SoupError if licences differ and none is asked for.
    """
    said = list(dict.fromkeys((origin.name, _identifier(origin.license)) for origin in origins))
    silent = [name for name, license in said if license is None]
    known = sorted({license for _, license in said if license})
    by_name = ", ".join(f"{name}: {license}" for name, license in said if license)
    if asked is not None:
        if _identifier(asked) is None:
            raise SoupError(f"license: {asked!r} is not a licence id of the Hub, such as apache-2.0 or cc-by-4.0")
        others = [license for license in known if license != _identifier(asked)]
        return _identifier(asked), _remarks_on_asked(asked, others, by_name, silent)
    if len(known) > 1:
        raise SoupError(f"the ingredients' licences differ ({by_name}); say which holds for the soup with --license")
    if silent:
        held = f"; the others say {known[0]}" if known else ""
        return None, (
            f"licence unknown: {', '.join(silent)} names none{held}, so the card names none; settle it with --license",
        )
    return (known[0] if known else None), _remarks_on_other(known, [name for name, _ in said])


def _remarks_on_asked(asked: str, others: Sequence[str], by_name: str, silent: Sequence[str]) -> tuple[str, ...]:
    remarks = []
    if others:
        remarks.append(f"the licence {asked} is the author's choice; the ingredients say {by_name}")
    if silent:
        remarks.append(f"the licence {asked} is the author's choice; {', '.join(silent)} names none")
    return tuple(remarks)


def _remarks_on_other(known: Sequence[str], said: Iterable[str]) -> tuple[str, ...]:
    if list(known) != ["other"]:
        return ()
    return (f"licence other: {', '.join(said)} have terms of their own, which may differ; read each",)


def _identifier(license: str | None) -> str | None:
    """As the Hub writes it, or None for what says nothing."""
    word = (license or "").strip().lower()
    return word if _IDENTIFIER.fullmatch(word) and word not in ("unknown", "none") else None
