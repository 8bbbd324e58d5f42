"""Harmless differences of names: what one ingredient calls its tensors, in the words of the first one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hf_soups.align.converted import Native, native_names
from hf_soups.align.finding import Finding, listed
from hf_soups.checkpoint import Checkpoint, Renamed

# A spelling that changes nothing, and what is left of it. The first two come from how a model was trained, the others
# from what older versions of transformers and torch called the same numbers.
SPELLINGS = (
    ("module.", r"^(module\.)+", ""),
    ("_orig_mod.", r"(?<![^.])_orig_mod\.", ""),
    ("gamma and beta of norms", r"(?<=[Nn]orm\.)gamma$", "weight"),
    ("gamma and beta of norms", r"(?<=[Nn]orm\.)beta$", "bias"),
    ("weight norm", r"\.weight_g$", ".parametrizations.weight.original0"),
    ("weight norm", r"\.weight_v$", ".parametrizations.weight.original1"),
)


@dataclass
class Matching:
    """New name → old name, as far as found, and why; `twins` and `lent` as in Renamed. unread: left out."""

    names: dict[str, str]
    twins: dict[str, str] = field(default_factory=dict)
    lent: dict[str, Checkpoint] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    reasons: dict[str, list[str]] = field(default_factory=dict)


def in_words_of(first: Checkpoint, other: Checkpoint, who: str) -> tuple[Checkpoint, list[Finding]]:
    """`other` as a view with the first one's names, and a note for each rule; unchanged where none explains it.

    What stays different is for the comparison of tensors to report.
    """
    if set(first.specs) == set(other.specs):
        return other, []
    found = Matching({name: name for name in other.specs if name in first.specs})
    _by_spelling(first, other, found)
    _by_prefix(first, other, found)
    if (_left(first, found) and _unmatched(other, found)) or _one_side_has_more(first, other, found):
        native = native_names(first)
        if native is not None:
            _by_conversion(first, other, found, native)
    if not found.reasons:
        return other, []
    names = dict(found.names)
    for old in _unmatched(other, found):
        names.setdefault(old, old)
    order = [n for n in first.specs if n in names] + [n for n in names if n not in first.specs]
    notes = [Finding("note", f"{who}: {reason}: {listed(olds)}") for reason, olds in found.reasons.items()]
    return Renamed(other, {name: names[name] for name in order}, found.twins, found.lent), notes


def _left(first: Checkpoint, found: Matching) -> list[str]:
    """Names of the first one that nothing was found for."""
    return [name for name in first.specs if name not in found.names and name not in found.lent]


def _unmatched(other: Checkpoint, found: Matching) -> list[str]:
    used = {*found.names.values(), *found.twins, *found.unread}
    return [name for name in other.specs if name not in used]


def _take(found: Matching, reason: str, pairs: Mapping[str, str]) -> None:
    """pairs: new name → old name."""
    if pairs:
        found.names.update(pairs)
        found.reasons.setdefault(reason, []).extend(pairs.values())


def _join(news: Iterable[str], olds: Iterable[str], key: Callable[[str], str | None]) -> dict[str, str]:
    """New name → old name, where one of each has the same key."""
    by_key: dict[str, list[list[str]]] = {}
    for side, names in enumerate((news, olds)):
        for name in names:
            if (found := key(name)) is not None:
                by_key.setdefault(found, [[], []])[side].append(name)
    return {new[0]: old[0] for new, old in by_key.values() if len(new) == len(old) == 1}


def _by_spelling(first: Checkpoint, other: Checkpoint, found: Matching) -> None:
    for name in dict.fromkeys(name for name, _, _ in SPELLINGS):
        rules = [(re.compile(pattern), left) for n, pattern, left in SPELLINGS if n == name]

        def plain(text: str, rules: list[tuple[re.Pattern[str], str]] = rules) -> str:
            for pattern, left in rules:
                text = pattern.sub(left, text)
            return text

        pairs = _join(_left(first, found), _unmatched(other, found), plain)
        _take(found, f"{name} is read as the first ingredient spells it", pairs)
    if _left(first, found) and (rest := _unmatched(other, found)):
        _take(found, "spelt as the first ingredient does", _join(_left(first, found), rest, _plainest))


def _plainest(name: str) -> str:
    """Several differences at once."""
    for _, pattern, left in SPELLINGS:
        name = re.sub(pattern, left, name)
    return name


def _by_prefix(first: Checkpoint, other: Checkpoint, found: Matching) -> None:
    """One prefix that one of them has and the other lacks, such as `bert.`: the one that explains the most names."""
    news = {_plainest(name): name for name in _left(first, found)}
    olds = {_plainest(name): name for name in _unmatched(other, found)}
    counts: Counter[tuple[str, str]] = Counter()
    for longer, shorter, which in ((news, olds, "lacks"), (olds, news, "has")):
        for name in longer:
            for at in (i for i, letter in enumerate(name) if letter == "."):
                if name[at + 1 :] in shorter:
                    counts[which, name[: at + 1]] += 1
    best = counts.most_common(2)
    if not best or (len(best) == 2 and best[0][1] == best[1][1]):
        return
    which, prefix = best[0][0]
    if which == "lacks":
        pairs = {news[prefix + name]: old for name, old in olds.items() if prefix + name in news}
    else:
        pairs = {news[name[len(prefix) :]]: old for name, old in olds.items() if name[len(prefix) :] in news}
        pairs = {new: old for new, old in pairs.items() if _plainest(old).startswith(prefix)}
    _take(found, f"{which} the prefix {prefix}", pairs)


def _one_side_has_more(first: Checkpoint, other: Checkpoint, found: Matching) -> bool:
    """Whether what one of them lacks may be tied to another tensor, or a buffer: by its shape or its type."""
    more = [first.specs[n] for n in _left(first, found)] + [other.specs[n] for n in _unmatched(other, found)]
    shapes = Counter(spec.shape for spec in first.specs.values())
    return any(not spec.is_float or shapes[spec.shape] > 0 for spec in more)


def _by_conversion(first: Checkpoint, other: Checkpoint, found: Matching, native: Native) -> None:
    """What transformers declares: other names of the same tensor, and tensors that are one."""
    pairs = _join(_left(first, found), _unmatched(other, found), native.name)
    _take(found, "named as another version of transformers does", pairs)
    places = {native.name(new): old for new, old in found.names.items()}
    written = {}
    for new in _left(first, found):
        for tied in native.tied_with(new):
            if tied in places:
                written[new] = places[tied]
    _take(found, "tied weights, written once, stand for both", written)
    for old in _unmatched(other, found):
        for tied in native.tied_with(old):
            if tied in places:
                found.twins[old] = places[tied]
    if found.twins:
        found.reasons["tied weights, written twice, are read once"] = list(found.twins)
    lent = [new for new in _left(first, found) if not first.specs[new].is_float and native.name(new) is None]
    found.lent.update(dict.fromkeys(lent, first))
    found.unread += [old for old in _unmatched(other, found) if not other.specs[old].is_float and not native.name(old)]
    if lent or found.unread:
        found.reasons["buffers that the model computes itself"] = [*lent, *found.unread]
