"""Names that nobody has checked show their characters in Markdown and do nothing."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_soups.card.markdown import LONGEST, code, details, escape, is_repo, listed, plain, repo_link, table
from tests.card.samples import NASTY, SHA

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown(markdown: str) -> str:
    """The text that a reader sees of one paragraph; fails if anything in it is markup."""
    rendered = MARKDOWN.render(markdown).removeprefix("<p>").removesuffix("</p>\n")
    assert "<" not in rendered, rendered
    return html.unescape(rendered)


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_a_nasty_name_is_shown_and_nothing_else(name: str) -> None:
    assert shown(f"before {escape(name)} after") == f"before {plain(name)} after"


@given(st.text(max_size=200))
def test_any_text_is_shown_and_nothing_else(text: str) -> None:
    assert shown(f"before{escape(text)}after") == f"before{plain(text)}after"


@given(st.text(max_size=500))
def test_plain_text_is_one_short_line_of_visible_characters(text: str) -> None:
    found = plain(text)
    assert len(found) <= LONGEST
    assert all(unicodedata.category(c)[0] != "C" for c in found)
    assert len(found.splitlines()) <= 1


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    found = plain("beginning" + "x" * 10_000 + "end")
    assert found.startswith("beginning") and found.endswith("end") and "…" in found


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_a_nasty_cell_stays_one_cell(name: str) -> None:
    rendered = MARKDOWN.render(table(["a", "b"], [[escape(name), "1"], ["x", escape(name)]]))
    assert rendered.count("<th") == 2 + 1  # and <thead>
    assert rendered.count("<td") == 4
    assert set(re.findall(r"<(\w+)", rendered)) == {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_no_name_can_end_a_block_of_code(name: str) -> None:
    tokens = MARKDOWN.parse(code(name + "\n" + name) + "\n\nafter")
    assert [t.type for t in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]


@pytest.mark.parametrize("name", [*NASTY.values(), "log_loss"])
def test_a_summary_is_shown_and_its_content_is_markdown(name: str) -> None:
    rendered = MARKDOWN.render(details(name, "**inside**"))
    found = re.fullmatch(r"<details>\n<summary>(.*)</summary>\n(.*)</details>", rendered, re.DOTALL)
    assert found is not None and "<" not in found[1]
    assert html.unescape(found[1]) == plain(name)
    assert found[2] == "<p><strong>inside</strong></p>\n"


def test_addresses_in_names_do_not_become_links() -> None:
    assert "://" not in escape("see https://evil.example")
    assert "www." not in escape("see WWW.evil.example".lower())


def test_only_repositories_of_the_hub_are_linked() -> None:
    assert repo_link("org/a-b_c.d", SHA) == (
        f"[org/a-b\\_c.d](https://huggingface.co/org/a-b_c.d/tree/{SHA}) `{SHA[:7]}`"
    )
    for name, sha in [("org/a", None), ("org/a", "main"), ("a b/c", SHA), ("org/..", SHA), ("org/a\n", SHA)]:
        assert "](" not in repo_link(name, sha)


def test_ids_of_the_hub_have_at_most_one_slash() -> None:
    assert is_repo("bert-base-uncased") and is_repo("google-bert/bert-base-uncased")
    assert not any(map(is_repo, ["a/b/c", "/a", "a/", "", "a b", "a|b", "é/x", "a--b"]))


def test_words_are_listed_as_in_a_sentence() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
