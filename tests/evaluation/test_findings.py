"""What the table admits: rows left out, choices that were luck, differences too small to see, how much was compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hf_soups.evaluation.findings import amount, expected, findings, visible
from hf_soups.evaluation.paired import Paired, mcnemar
from hf_soups.evaluation.results import Results, Row
from hf_soups.evaluation.separation import Separation
from hf_soups.evaluation.statistics import Interval
from hf_soups.evaluation.verdict import compare, comparisons
from tests.card.samples import REPORTS, ZERO, usual_results

COUNTS = {"test": (30, 25), "amazon": (40, 20), "tweets": (10, 40)}


def counted() -> Results:
    """The usual table, with the counts of discordant rows of the soup."""

    def with_counts(row: Row) -> Row:
        paired = {name: {"accuracy": Paired(a, b, 1000, 1.0, mcnemar(a, b))} for name, (a, b) in COUNTS.items()}
        return replace(row, paired=paired) if row.kind == "greedy" else row

    table = usual_results()
    return replace(table, rows=tuple(with_counts(row) for row in table.rows), scored=5)


def test_p_values_are_adjusted_for_the_datasets_of_the_report() -> None:
    found = {c.report.name: c for c in compare(counted(), "accuracy")}
    raw = {name: mcnemar(*counts) for name, counts in COUNTS.items()}
    assert found["tweets"].adjusted == 3 * raw["tweets"] < 2 * raw["amazon"] == found["amazon"].adjusted
    assert found["test"].adjusted == raw["test"]


def test_a_grouped_dataset_has_no_p_value_and_costs_the_others_nothing() -> None:
    table = counted()
    grouped = replace(
        table.rows[-2], paired={**table.rows[-2].paired, "test": {"accuracy": Paired(30, 25, 1000, 3.0, None)}}
    )
    found = {c.report.name: c for c in compare(replace(table, rows=(*table.rows[:-2], grouped)), "accuracy")}
    assert found["test"].adjusted is None
    assert found["tweets"].adjusted == 2 * mcnemar(10, 40)


def test_the_comparison_says_which_differences_it_could_see() -> None:
    found = compare(counted(), "accuracy")
    assert visible(found, "accuracy").startswith("Differences under 2.1 points on test, 2.2 points on amazon and ")
    losses = usual_results(("log_loss",))
    assert compare(losses, "log_loss")[0].detectable == pytest.approx(2.8016 * 0.005, rel=1e-3)
    assert compare(losses, "log_loss")[0].paired is None


def test_every_difference_in_the_report_is_a_comparison() -> None:
    """Base, two ingredients, uniform, greedy and ensemble against the best, on a test and two shifts."""
    assert comparisons(counted()) == 6 * 3
    assert comparisons(replace(counted(), rows=counted().rows[1:2])) == 0


def test_rows_that_were_left_out_are_told() -> None:
    test = replace(REPORTS[1], dropped=12)
    table = replace(usual_results(), datasets={**usual_results().datasets, "test": test})
    (note,) = findings(table)
    assert note.level == "note" and "12 rows left out of the report" in note.message
    assert findings(usual_results()) == ()


def test_a_report_on_selection_data_is_a_warning_before_all_others() -> None:
    test = replace(REPORTS[1], shared=250)
    table = replace(usual_results(), datasets={**usual_results().datasets, "test": test})
    (warning,) = findings(table)
    assert warning.level == "warning"
    assert warning.message.startswith("test: reported on data that selection saw, by force (allow_overlap): 250 of 1,0")


def test_before_anything_is_predicted_a_tenth_is_assumed_and_a_group_is_one_row() -> None:
    assert expected(replace(REPORTS[1], n=18_600)).startswith("test (test): 18,600 rows; differences under 0.65 points")
    grouped = expected(replace(REPORTS[1], n=18_600, groups=1_000))
    assert "18,600 rows in 1,000 groups; differences under 2.8 points" in grouped


def test_a_choice_that_the_data_could_not_make_is_a_warning_with_the_rows_it_would_take() -> None:
    gap = Interval(0.002, 0.01, -0.02, 0.024)
    undecided = Separation("validation", "accuracy", "greedy soup", "org/a", gap, 400, 0.02, 41_234)
    (warning,) = findings(replace(usual_results(), separation=undecided))
    assert warning.level == "warning"
    assert "400 rows are too few to decide between greedy soup and org/a" in warning.message
    assert "differ by 0.2 points" in warning.message and "about 41,000 rows would be needed" in warning.message
    (equal,) = findings(replace(usual_results(), separation=replace(undecided, difference=ZERO, needed=None)))
    assert "whose scores are equal; a difference of 2 points is the least" in equal.message
    sure = replace(undecided, difference=Interval(0.03, 0.01, 0.01, 0.05))
    assert findings(replace(usual_results(), separation=sure)) == ()


def test_a_set_of_one_class_is_a_warning() -> None:
    test = replace(REPORTS[1], only="positive")
    (warning,) = findings(replace(usual_results(), datasets={**usual_results().datasets, "test": test}))
    assert warning.message == "test: every row is positive: whoever always says so is perfect there; add other rows"


def test_only_accuracy_is_told_in_points() -> None:
    assert amount("accuracy", 1.0) == "100 points"
    assert amount("accuracy", 0.0194) == "1.9 points" and amount("log_loss", 0.0194) == "0.019"
