"""A licence is inherited, asked for, or not stated; never guessed."""

from __future__ import annotations

import pytest

from hf_soups import SoupError
from hf_soups.card import decide_license
from hf_soups.checkpoint import Origin


def origins(*licenses: str | None) -> list[Origin]:
    return [Origin(f"org/{'abcd'[i]}", license=license) for i, license in enumerate(licenses)]


def test_one_licence_of_all_is_inherited() -> None:
    assert decide_license(origins("mit", "mit", "MIT")) == ("mit", ())


def test_different_licences_need_the_users_word() -> None:
    with pytest.raises(SoupError, match=r"org/a: mit, org/b: apache-2.0.*--license"):
        decide_license(origins("mit", "apache-2.0"))


def test_different_licences_are_named_when_the_user_has_decided() -> None:
    license, (warning,) = decide_license(origins("mit", "apache-2.0"), "apache-2.0")
    assert license == "apache-2.0"
    assert "org/a: mit" in warning


@pytest.mark.parametrize("nothing", [None, "", "unknown", "---\nx: 1", "</td><script>"])
def test_a_missing_licence_is_not_guessed_from_the_others(nothing: str | None) -> None:
    license, (warning,) = decide_license(origins("mit", nothing))
    assert license is None
    assert "org/b" in warning and "--license" in warning


def test_the_users_word_settles_a_missing_licence() -> None:
    license, (warning,) = decide_license(origins(None), "mit")
    assert license == "mit" and "org/a" in warning


def test_the_same_licence_asked_for_needs_no_remark() -> None:
    assert decide_license(origins("mit", "mit"), "mit") == ("mit", ())


def test_what_is_asked_for_must_be_a_licence_id() -> None:
    with pytest.raises(SoupError, match="not a licence id"):
        decide_license(origins("mit"), "do what you want")


def test_terms_of_their_own_are_not_taken_for_the_same() -> None:
    license, (warning,) = decide_license(origins("other", "other"))
    assert license == "other" and "read each" in warning


def test_no_order_of_ingredients_changes_the_licence() -> None:
    assert decide_license(origins("mit", None))[0] == decide_license(origins(None, "mit"))[0]
