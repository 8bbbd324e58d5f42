"""`hf-soups find`: a table of 80 columns, a recipe, and exit codes that scripts can use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.test_cli import soups
from tests.hub.test_find import Zoo, config, mixed, zoo

__all__ = ["zoo"]


def test_the_table_fits_80_columns_and_names_every_reason(zoo: Zoo, tmp_path: Path) -> None:
    mixed(zoo)
    zoo.add("a-name-that-nobody-would-want-to-type-again-and-that-is-far-too-long-for-a-table")
    done = soups("find", zoo.base, "--recipe", tmp_path / "r.yaml", HF_TOKEN=zoo.hub.other_token)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in (
        "4 fit together",
        "3 have another head",
        "5 do not fit",
        "4 were not looked into",
        "gated",
        "quantised",
    ):
        assert words in done.stdout
    content = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert content["method"] == "average" and len(content["ingredients"]) == 4
    again = soups("find", zoo.base, "--recipe", tmp_path / "r.yaml")
    assert again.returncode == 1 and "is there already" in again.stderr


def test_what_others_wrote_cannot_move_the_cursor(zoo: Zoo) -> None:
    for name in "ab":
        zoo.add(name)
    zoo.add("hostile", config=config(("\x1b[2Jgone", "\u202eevitagen\nfits")))
    done = soups("find", zoo.base)
    assert done.returncode == 0 and "gone" in done.stdout
    assert all(letter.isprintable() or letter == "\n" for letter in done.stdout)
    assert not any(line.startswith("fits") for line in done.stdout.splitlines())


def test_scripts_get_json_ids_or_a_recipe(zoo: Zoo) -> None:
    for name in "ab":
        zoo.add(name)
    found = json.loads(soups("find", zoo.base, "--json").stdout)
    assert [c["verdict"] for c in found["candidates"]] == ["fits", "fits"]
    assert soups("find", zoo.base, "-q").stdout.split() == [f"{zoo.namespace}/{name}" for name in "ab"]
    recipe = yaml.safe_load(soups("find", zoo.base, "--format", "recipe").stdout)
    assert recipe["ingredients"] == found["recipe"]["ingredients"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--license", "mitt"), 1, "did you mean 'mit'?"),
        (("--labels", "negative,,"), 2, "negative,positive"),
        (("--format", "recepi"), 2, "did you mean 'recipe'?"),
        (("--limit", "0"), 2, "0 is not in the range"),
        (("--format", "recipe"), 1, "a soup needs two"),
        (("--json", "-q"), 2, "exclude each other"),
    ],
)
def test_mistakes_end_with_a_code_and_a_hint(zoo: Zoo, options: tuple[str, ...], code: int, says: str) -> None:
    zoo.add("a")
    done = soups("find", zoo.base, *options)
    assert done.returncode == code and says in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr


def test_a_base_that_is_not_there_is_an_error(zoo: Zoo) -> None:
    done = soups("find", f"{zoo.namespace}/none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {zoo.namespace}/none: not found")
