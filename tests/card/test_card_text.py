"""What a reader of the card is told, in words and tables."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from hf_soups import Data, Evaluate, Ingredient, Output, Recipe, Soup
from hf_soups.align import Finding
from hf_soups.card import Facts, gather, render, sources, write
from hf_soups.card.evaluation import INGREDIENTS_SHOWN
from hf_soups.checkpoint import Checkpoint, Origin
from hf_soups.evaluation.metrics import metric
from hf_soups.evaluation.paired import Paired, mcnemar
from hf_soups.evaluation.results import Results
from hf_soups.evaluation.separation import Separation
from hf_soups.evaluation.statistics import Interval, difference
from hf_soups.evaluation.verdict import best_ingredient, outcome
from hf_soups.lock import portable
from hf_soups.recipe import loads
from hf_soups.selection import Selection
from tests.card.samples import (
    NASTY,
    REPORTS,
    SHA,
    adapter,
    checkpoint,
    chosen,
    interval,
    report,
    results,
    row,
    soup_of,
    usual_results,
)

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
POOL: dict[str, Checkpoint] = {name: checkpoint(name, fill=i) for i, name in enumerate(["org/a", "org/b", "org/c"])}
SCORES = {"org/a": 0.9, "org/b": 0.9, "org/c": 0.8}


def greedy_facts(found: Results | None = None, scores: dict[str, float] | None = None) -> Facts:
    soup, selection = chosen(POOL, scores or SCORES)
    opened = [(Ingredient(name), c) for name, c in POOL.items()]
    return gather(soup, selection, found, opened, repo_id="me/soup", versions={"hf_soups": "0.1.0"})


def body(card: str) -> str:
    return card.split("\n---\n", 1)[1]


def test_the_first_paragraph_says_what_it_is() -> None:
    paragraph = body(render(greedy_facts())).split("\n\n")[1]
    assert "**2 fine-tuned models**, chosen from 3 candidates" in paragraph
    assert "[Weighted average](https://arxiv.org/abs/2203.05482)" in paragraph
    assert "validation accuracy" in paragraph


def test_a_soup_that_was_not_evaluated_says_so() -> None:
    card = render(gather(soup_of(POOL)))
    assert "**Not evaluated.**" in card
    assert "## Evaluation" not in card


def test_the_answer_says_better_worse_or_not_distinguishable_where_each_holds() -> None:
    text = body(render(greedy_facts(usual_results())))
    assert "On the test data (test): **not distinguishable**." in text
    assert "Under distribution shift: **better** on amazon, **worse** on tweets." in text
    assert "| +0.005 [\N{MINUS SIGN}0.005, +0.015] | not distinguishable |" in text
    assert "The best ingredient is org/a: best on validation" in text


def test_the_answer_tells_what_could_be_seen_and_how_sure_it_is() -> None:
    table = usual_results()
    pairs = {"test": (30, 25), "amazon": (40, 20), "tweets": (10, 40)}
    paired = {name: {"accuracy": Paired(a, b, 1000, 1.0, mcnemar(a, b))} for name, (a, b) in pairs.items()}
    rows = tuple(replace(row, paired=paired) if row.kind == "greedy" else row for row in table.rows)
    text = body(render(greedy_facts(replace(table, rows=rows, scored=5))))
    assert re.search(r"\| amazon \(shift\) .* \| 40 to 20 \| 0\.027 \| better \|", text)
    assert re.search(r"\| tweets \(shift\) .* \| 10 to 40 \| &lt; 0\.001 \| worse \|", text)
    assert "after Holm's correction for 3 datasets: a difference holds on amazon and tweets at 5%" in text
    assert "Differences under 2.1 points on test, 2.2 points on amazon and 2 points on tweets cannot be told" in text
    assert "5 candidates were scored on selection data before one was chosen" in text
    assert "compares models with the best ingredient 18 times for each metric" in text


def test_a_report_on_selection_data_is_the_first_thing_that_a_card_says() -> None:
    seen = {**usual_results().datasets, "test": replace(REPORTS[1], shared=400)}
    card = render(greedy_facts(replace(usual_results(), datasets=seen)))
    title, first = body(card).strip().split("\n\n")[:2]
    assert title == "# soup"
    assert first.startswith("**Reported on data that selection saw.** 400 of the 1,000 rows of test had a say")
    assert "no part in" not in card and "used for this report alone" not in card
    assert "test (test)" not in card.split("\n---\n", 1)[0]  # nor is it in the model index
    assert "amazon (shift)" in card.split("\n---\n", 1)[0]
    assert "Reported on data that selection saw" not in render(greedy_facts(usual_results()))


def test_a_choice_that_was_luck_is_among_the_warnings() -> None:
    gap = Interval(0.002, 0.01, -0.02, 0.024)
    undecided = Separation("validation", "accuracy", "greedy soup", "org/a", gap, 400, 0.02, 41_234)
    text = body(render(greedy_facts(replace(usual_results(), separation=undecided))))
    assert "- **Warning:** validation: 400 rows are too few to decide between greedy soup and org/a" in text


@pytest.mark.parametrize(
    ("low", "value", "high", "sign", "expected"),
    [
        (-0.01, 0.01, 0.03, 1, "not distinguishable"),
        (0.0, 0.01, 0.03, 1, "not distinguishable"),
        (0.001, 0.01, 0.03, 1, "better"),
        (-0.03, -0.01, -0.001, 1, "worse"),
        (-0.03, -0.01, -0.001, -1, "better"),
        (0.001, 0.01, 0.03, -1, "worse"),
    ],
)
def test_an_interval_that_contains_0_proves_nothing(
    low: float, value: float, high: float, sign: int, expected: str
) -> None:
    assert outcome(Interval(value, 0.01, low, high), sign) == expected


def test_the_evaluation_says_which_way_is_up_for_a_metric_of_the_users_own_too() -> None:
    table = usual_results(("regret",))
    assert "**better** on amazon, **worse** on tweets" in body(render(greedy_facts(table)))
    less = body(render(greedy_facts(replace(table, directions={"regret": -1}))))
    assert "**worse** on amazon, **better** on tweets" in less
    assert "**regret** (less is better) of every model" in less


def test_the_best_ingredient_is_the_one_that_differs_from_itself_by_exactly_0() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    logits = rng.normal(size=(50, 2))
    itself = difference(metric("accuracy"), logits, logits, labels)
    other = difference(metric("accuracy"), rng.normal(size=(50, 2)), logits, labels)
    rows = [
        row("other", "ingredient", {"test": 0.5}, {"test": other}),
        row("best", "ingredient", {"test": 0.5}, {"test": itself}),
    ]
    found = best_ingredient(results(rows, [report("test", "test")]))
    assert found is not None and found.name == "best"


def test_without_selection_data_no_ingredient_is_called_the_best() -> None:
    rows = [row("org/a", "ingredient", {"test": 0.8}), row("average of all", "soup", {"test": 0.9})]
    text = render(gather(soup_of(POOL), None, results(rows, [report("test", "test")])))
    assert "**Not compared** with its best ingredient" in text
    assert "| test (test) | 0.900 ± 0.010 |" in text


def test_scores_on_selection_data_alone_are_called_too_good() -> None:
    rows = [row("org/a", "ingredient", {"validation": 0.8}), row("greedy soup", "greedy", {"validation": 0.9})]
    assert "**Not evaluated on new data.**" in render(greedy_facts(results(rows, REPORTS[:1])))


def test_one_kept_ingredient_is_called_what_it_is() -> None:
    text = render(greedy_facts(usual_results(), {"org/a": 0.9, "org/b": 0.8, "org/c": 0.7}))
    assert "This is **[org/a]" in text and "unchanged" in text
    assert "Is it better" not in text


def test_the_best_values_are_bold_in_each_column() -> None:
    text = body(render(greedy_facts(usual_results())))
    lines = [line for line in text.splitlines() if "this model**" in line or line.startswith("| uniform")]
    assert "**0.855 ± 0.010**" in lines[1]  # the soup's, on the test data
    assert "**0.830 ± 0.010**" in lines[0]  # the uniform soup's, on amazon


def test_a_smaller_loss_is_the_better_one() -> None:
    found = usual_results(("log_loss",))
    text = body(render(greedy_facts(found)))
    assert re.search(r"\| base: org/base \| \*\*0.690", text)


def test_every_model_is_in_the_table_in_the_order_of_the_results() -> None:
    text = body(render(greedy_facts(usual_results())))
    names = [
        "base: org/base",
        "org/a (best ingredient)",
        "org/b",
        "org/c",
        "uniform soup",
        "**greedy soup: this model**",
    ]
    places = [text.index(f"\n| {name} |") for name in [*names, "ensemble"]]
    assert places == sorted(places)


def test_a_long_list_of_ingredients_opens_on_a_click() -> None:
    names = [f"org/run-{i}" for i in range(INGREDIENTS_SHOWN + 1)]
    text = render(greedy_facts(usual_results(names=names)))
    before, after = text.split(f"<summary>All {len(names)} ingredients</summary>")
    assert "| org/run-12 |" not in before and "| org/run-12 |" in after
    assert "| org/run-0 (best ingredient) |" in before


def test_data_are_named_with_their_commit_their_rows_and_what_was_left_out() -> None:
    found = usual_results()
    reports = dict(found.datasets) | {"test": report("test", "test", dropped=3)}
    reports["tweets"] = replace(reports["tweets"], groups=300)
    text = render(greedy_facts(replace(found, datasets=reports)))
    assert f"https://huggingface.co/datasets/org/amazon/tree/{SHA}" in text
    assert "| tweets | shift | tweets.csv | test | 1,000 in 300 groups |" in text
    assert "3 of test" in text
    assert "whole groups" in text
    assert "Only validation had a say" in text


def test_ingredients_tell_why_they_are_in_or_not() -> None:
    text = render(greedy_facts())
    assert "| yes: the best alone |" in text
    assert "| yes: 0.9000 with it, 0.9000 without |" in text
    assert "| no: 0.8667 with it, 0.9000 without |" in text
    assert (
        f"[org/c](https://huggingface.co/org/c/tree/{SHA}) `{SHA[:7]}` | full model | apache-2.0 | 0.8000 | 0 |" in text
    )


def test_the_same_model_twice_is_two_candidates() -> None:
    recipe = Recipe(ingredients=(Ingredient("org/a"), Ingredient("org/a"), Ingredient("org/b")))
    facts = gather(soup_of(POOL, recipe))
    assert [c.name for c in facts.kept] == ["org/a", "org/a", "org/b"]
    assert [c.weight for c in facts.kept] == pytest.approx([1 / 3] * 3)
    assert "**Warning:** org/a: listed 2 times" in render(facts)


def test_weights_are_shares_of_the_soup() -> None:
    recipe = Recipe(ingredients=(Ingredient("org/a", {"weight": 3}), Ingredient("org/b", {"weight": 1})))
    assert [c.weight for c in gather(soup_of(POOL, recipe)).candidates] == [0.75, 0.25]


def test_a_method_that_weighs_each_tensor_for_itself_has_no_single_weight() -> None:
    recipe = Recipe(ingredients=(Ingredient("org/a"), Ingredient("org/b")), method="slerp", parameters={"t": 0.3})
    text = render(gather(soup_of(POOL, recipe)))
    assert "| varies |" in text
    assert "Method: Spherical interpolation (slerp), with t 0.3." in text


def test_a_base_and_the_methods_settings_are_named() -> None:
    recipe = Recipe(ingredients=(Ingredient("org/a"),), method="interpolate", base=Ingredient("org/b"))
    text = render(gather(soup_of(POOL, recipe)))
    assert "**1 fine-tuned model** and its base model [org/b]" in text
    assert "with alpha 0.5." in text
    assert "https://arxiv.org/abs/2109.01903" in text


def test_adapters_are_counted_and_their_bases_licence_counts(tmp_path: Path) -> None:
    soup = soup_of({"org/lora": adapter(tmp_path, "org/lora")})
    text = render(gather(soup))
    assert "(1 of them a LoRA adapter)" in text and "| adapter | mit |" in text
    assert [o.name for o in sources(soup)] == ["org/lora", "org/base"]


def test_the_recipe_in_the_card_is_the_recipe_of_the_soup() -> None:
    facts = greedy_facts()
    soup, _ = chosen(POOL, SCORES)
    text = re.search(r"```yaml\n(.*?)\n```", render(facts), re.DOTALL)
    assert text is not None
    assert loads(text[1]) == portable(soup.recipe, soup)


def test_local_ingredients_are_named_and_how_to_give_them() -> None:
    pool = {"org/a": checkpoint("org/a"), "run-2": checkpoint("run-2", sha=None)}
    text = render(gather(soup_of(pool)))
    assert "hf-soups merge soup.yaml -o soup --local DIR" in text
    assert "Not on the Hub: run-2." in text
    assert "--local" not in render(gather(soup_of(POOL)))


def test_the_snippet_is_for_the_task_and_the_repository() -> None:
    text = render(greedy_facts())
    assert 'AutoModelForSequenceClassification.from_pretrained("me/soup")' in text
    assert 'AutoTokenizer.from_pretrained("me/soup")' in text
    unnamed = render(replace(greedy_facts(), repo_id='x"); import os; ("'))
    assert "import os" not in re.search(r"```python.*?```", unnamed, re.DOTALL)[0]  # type: ignore[index]


def test_findings_and_versions_are_told() -> None:
    facts = replace(greedy_facts(), noticed=(Finding("note", "org/b: 3 tensors are bfloat16"),))
    text = render(facts)
    assert "- **Note:** org/b: 3 tensors are bfloat16" in text
    assert "Versions: hf\\_soups 0.1.0." in text


def test_no_path_of_this_machine_is_in_the_card(tmp_path: Path) -> None:
    folder = tmp_path / "canary" / "run-1"
    local = checkpoint("run-1", sha=None)
    local.origin = Origin("run-1", license="mit", path=folder)
    evaluate = Evaluate(datasets={"test": Data(str(tmp_path / "canary" / "test.csv"), role="test")})
    recipe = Recipe(ingredients=(Ingredient(str(folder)),), evaluate=evaluate, output=Output(hub="me/secret"))
    soup = Soup(recipe, lambda ingredient: local)
    findings = (Finding("warning", f"{folder}: odd"), Finding("note", f"in {folder}/config.json"))
    soup.alignment = replace(soup.alignment, findings=findings)
    text = render(gather(soup))
    assert "canary" not in text and str(tmp_path) not in text and "me/secret" not in text
    assert "**Warning:** run-1: odd" in text and "local:run-1" in text and "local:test.csv" in text


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_a_card_full_of_nasty_names_is_a_card_of_text(name: str) -> None:
    """Names of models, datasets, metrics, licences, findings and versions alike."""
    same = {name: Interval(0.0, 0.0, 0.0, 0.0)}
    rows = [
        row(name, "base", {name: 0.7}, {name: interval(-0.1)}, (name,)),
        row(name, "ingredient", {name: 0.8}, same, (name,)),
        row(name, "greedy", {name: 0.9}, {name: interval(0.1)}, (name,)),
    ]
    measured = results(rows, [report(name, "test", path=name), report("v", "select", path=name)], (name,))
    rows_with_selection = [replace(r, scores={**r.scores, "v": r.scores[name]}) for r in rows]
    measured = replace(measured, rows=tuple(rows_with_selection))
    pool = {"a": checkpoint(name, license=name), "b": checkpoint("org/b", license=name)}
    recipe = Recipe(ingredients=(Ingredient("a", name="a"), Ingredient("b", name="b")))
    soup = soup_of(pool, recipe)
    facts = gather(soup, None, measured, versions={name: name})
    candidates = tuple(replace(c, name=name) for c in facts.candidates)
    selection = Selection(soup.recipe, "greedy", name, name, ">=", "best first", ())
    facts = replace(facts, candidates=candidates, selection=selection, noticed=(Finding("warning", name),), figure=True)
    text = body(render(facts))
    rendered = MARKDOWN.render(text)
    assert set(re.findall(r"<(\w+)", rendered)) <= set(
        "h1 h2 p a strong em code pre table thead tbody tr th td ul li br details summary img hr".split()
    )
    links = re.findall(r'(?:href|src)="([^"]*)"', rendered)
    assert all(link.startswith(("https://huggingface.co/", "https://arxiv.org/abs/", "figures/")) for link in links)
    for table in re.findall(r"<table>.*?</table>", rendered, re.DOTALL):
        widths = {len(re.findall(r"<t[hd]", line)) for line in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)}
        assert len(widths) == 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b\x85]", text)
    assert max(map(len, text.splitlines())) < 2500


def test_a_folder_gets_card_and_figure_and_the_card_shows_the_figure(tmp_path: Path) -> None:
    soup, selection = chosen(POOL, SCORES)
    write(tmp_path, soup, selection, usual_results())
    assert (tmp_path / "figures" / "id-versus-ood.png").is_file()
    assert "](figures/id-versus-ood.png)" in (tmp_path / "README.md").read_text()


def test_without_shifts_there_is_no_figure_and_none_is_shown(tmp_path: Path) -> None:
    found = usual_results()
    fewer = replace(found, datasets={n: d for n, d in found.datasets.items() if d.role != "shift"})
    write(tmp_path, soup_of(POOL), None, fewer)
    assert not (tmp_path / "figures").exists()
    assert "figures/" not in (tmp_path / "README.md").read_text()


def test_a_local_base_is_needed_too_to_make_it_again() -> None:
    everything = {**POOL, "anchor": checkpoint("anchor", sha=None)}
    recipe = Recipe(ingredients=(Ingredient("org/a"),), method="interpolate", base=Ingredient("anchor"))
    assert "Not on the Hub: anchor." in render(gather(soup_of(everything, recipe)))
