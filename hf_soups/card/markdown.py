"""Markdown made of strings that nobody has checked: names from the Hub, of datasets, of columns."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

from hf_soups.checkpoint import Origin

LONGEST = 64  # characters of a name in a card; a table with longer ones cannot be read
HUB = "https://huggingface.co"
SHA_SHOWN = 7  # as git and the Hub abbreviate

_REPO = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}")
# Whatever can begin markup, HTML, a template or a formula inside a line, as a reference to itself: a backslash
# before it would still be seen by a table's `|` or by what typesets `$$`. The underscore is too common for that.
_INERT = {ord(c): f"&#{ord(c)};" for c in "\\`*{}[]<>#|&~$@"} | {ord("_"): "\\_"}
_ADDRESS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)  # would become a link without being written as one


def plain(text: object, longest: int | None = LONGEST) -> str:
    """One line of visible characters: no control, formatting (such as right-to-left override) or private ones.

    longest: what is longer loses its middle.
    """
    spaced = re.sub(r"\s+", " ", str(text)).strip()
    seen = "".join(c for c in spaced if unicodedata.category(c)[0] != "C")
    if longest is None or len(seen) <= longest:
        return seen
    tail = (longest - 1) // 3
    return f"{seen[: longest - 1 - tail]}…{seen[-tail:]}"


def escape(text: object, longest: int | None = LONGEST) -> str:
    """The text as one line of Markdown that shows its characters and does nothing."""
    return _ADDRESS.sub(lambda found: f"&#{ord(found[0])};", plain(text, longest).translate(_INERT))


def is_repo(name: str) -> bool:
    """Whether this can be a repository's id on the Hub."""
    return len(name) <= 200 and _REPO.fullmatch(name) is not None and ".." not in name and "--" not in name


def repo_link(name: str, sha: str | None, label: str | None = None, kind: str = "") -> str:
    """A link to exactly that commit, with the short sha; only the escaped name if it is not of the Hub.

    kind: "" for models, "datasets/" for datasets.
    """
    shown = escape(label or name)
    if sha is None or not is_repo(name) or not _SHA.fullmatch(sha):
        return shown
    return f"[{shown}]({HUB}/{kind}{name}/tree/{sha}) {short(sha)}"


def origin_link(origin: Origin) -> str:
    """A link to the commit that a checkpoint comes from, or its name."""
    label = f"{origin.name}/{origin.subfolder}" if origin.subfolder else origin.name
    return repo_link(origin.name, origin.sha, label)


def short(sha: str) -> str:
    return f"`{sha[:SHA_SHOWN]}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """Cells that are Markdown already; `numbers` puts all but the first column to the right."""
    rule = ["---", *(["--:" if numbers else "---"] * (len(header) - 1))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def code(text: str, language: str = "", longest_line: int = 200) -> str:
    """A fenced block that its content cannot end."""
    lines = [
        line if len(line) <= longest_line else f"{line[:longest_line]}… (cut)"
        for line in "".join(
            c for c in text if c == "\n" or unicodedata.category(c)[0] != "C"
        ).strip("\n").split("\n")
    ]  # fmt: skip
    content = "\n".join(lines)
    ticks = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def details(summary: str, content: str) -> str:
    """Markdown that opens on a click of any text."""
    return f"<details>\n<summary>{html.escape(plain(summary))}</summary>\n\n{content}\n\n</details>"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`"""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
