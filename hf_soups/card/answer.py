"""Is it better than its best ingredient? Sentences and a small table; the part of a card that everybody reads."""

from __future__ import annotations

from collections.abc import Sequence

from hf_soups.card.cells import difference, place, tests, value
from hf_soups.card.facts import Facts
from hf_soups.card.markdown import escape, listed, table
from hf_soups.evaluation.findings import visible
from hf_soups.evaluation.statistics import LEVEL
from hf_soups.evaluation.verdict import Comparison, best_ingredient, compare, published, reported


def answer(facts: Facts) -> str:
    """What the numbers say of the soup, or that there are none to say it."""
    results = facts.results
    if results is None:
        return "**Not evaluated.** Nothing is known of how good it is, nor whether it is better than its ingredients."
    soup, best = published(results), best_ingredient(results)
    if soup is None:
        return "**Not evaluated** itself; only its ingredients were, see below."
    if not any(row.scores for row in results.rows):
        return "**Not evaluated.** All data were used to fit its weights; how good it is on others is not known."
    if not reported(results):
        return (
            "**Not evaluated on new data.** The only scores are on selection data, which flatter what is chosen there."
        )
    metric = results.metrics[0]
    found = compare(results, metric)
    if best is None or not found or facts.single:
        scores = table(
            [escape(metric), "this model"],
            [[place(d), value(soup.scores[d.name][metric])] for d in reported(results)],
        )
        why = "there are no selection data to tell which ingredient is the best"
        return scores if facts.single else f"**Not compared** with its best ingredient: {why}.\n\n{scores}"
    sentences = [_sentence("On the test data", [c for c in found if c.report.role == "test"])]
    sentences.append(_sentence("Under distribution shift", [c for c in found if c.report.role == "shift"]))
    tested = any(c.paired for c in found)
    rows = [
        [
            place(c.report),
            value(c.soup),
            value(c.best),
            difference(c.difference),
            *(tests(c) if tested else ()),
            c.outcome,
        ]
        for c in found
    ]
    header = [
        escape(metric),
        "this soup",
        "best ingredient",
        f"difference [{LEVEL:.0%} interval]",
        *(("only one right", "p") if tested else ()),
        "the soup is",
    ]
    ranked = f"on {escape(results.ranked_on)}" if results.ranked_on else f"by {escape(results.ranked_by or metric)}"
    apart = "" if any(c.report.shared for c in found) else ", which the data above have no part in"
    return "\n\n".join(
        [
            " ".join(["**Is it better than its best ingredient?**", *filter(None, sentences)]),
            table(header, rows),
            f"The best ingredient is {escape(best.name)}: best {ranked}{apart}. "
            "The difference is paired, so it is surer than either score; an interval that contains 0 proves nothing "
            f"either way. {visible(found, metric, escape)}{_together(found)}",
        ]
    )


def _together(found: Sequence[Comparison]) -> str:
    """What McNemar's test says of all datasets at once."""
    sure = [c for c in found if c.adjusted is not None]
    if not sure:
        return ""
    test = " The p-values are of McNemar's exact test on the rows that only one of the two gets right"
    if len(sure) == 1:
        return f"{test}."
    below = [escape(c.report.name) for c in sure if c.adjusted is not None and c.adjusted < 1 - LEVEL]
    holds = f"holds on {listed(below)}" if below else "holds nowhere"
    return f"{test}, after Holm's correction for {len(sure)} datasets: a difference {holds} at {1 - LEVEL:.0%}."


def _sentence(where: str, found: Sequence[Comparison]) -> str:
    """`Under distribution shift: better on a and b, not distinguishable on c.`"""
    if not found:
        return ""
    names = {
        o: [escape(c.report.name) for c in found if c.outcome == o] for o in dict.fromkeys(c.outcome for c in found)
    }
    if len(found) == 1:
        return f"{where} ({escape(found[0].report.name)}): **{found[0].outcome}**."
    return f"{where}: " + ", ".join(f"**{o}** on {listed(ds)}" for o, ds in names.items()) + "."
