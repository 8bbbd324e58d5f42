"""The metadata at the head of a README.md, and what the Hub objects to in it."""

from __future__ import annotations

import re
from typing import Any

import yaml

REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
RELATIONS = ("finetune", "adapter", "quantized", "merge")

TEXT_KEYS = ("library_name", "license_link", "license_name", "model_name", "pipeline_tag", "pretty_name")
TEXT_OR_LIST_KEYS = ("base_model", "datasets", "language", "license", "metrics", "tags")


def front_matter(readme: str) -> str | None:
    """The YAML between the first two lines of dashes, or None."""
    found = re.match(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*$", readme, re.DOTALL | re.MULTILINE)
    return found[1] if found else None


def card_data(readme: str) -> dict[str, Any]:
    """The metadata, or {} where there is none that can be read."""
    try:
        data = yaml.safe_load(front_matter(readme) or "")
    except yaml.YAMLError:
        return {}
    return data if isinstance(data, dict) else {}


def as_list(value: Any) -> list[Any]:
    """A missing value as no items, a single one as one item."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def warnings(readme: str) -> list[str]:
    return [] if front_matter(readme) else ["empty or missing yaml metadata in repo card"]


def errors(readme: str) -> list[str]:
    """Objections to the metadata: a YAML that does not parse, or keys of the wrong type or form.

    The real Hub checks more, for instance licence names against its list.
    """
    try:
        data = yaml.safe_load(front_matter(readme) or "")
    except yaml.YAMLError as error:
        return [f"YAML metadata could not be parsed: {error}"]
    if data is None:
        return []
    if not isinstance(data, dict):
        return ["YAML metadata must be a mapping"]
    return [*_wrong_types(data), *_wrong_values(data)]


def _wrong_types(data: dict[str, Any]) -> list[str]:
    texts = [f'"{key}" must be a string' for key in TEXT_KEYS if not isinstance(data.get(key, ""), str)]
    lists = [
        f'"{key}" must be a string or a list of strings'
        for key in TEXT_OR_LIST_KEYS
        if not all(isinstance(item, str) for item in as_list(data.get(key, [])))
    ]
    return texts + lists


def _wrong_values(data: dict[str, Any]) -> list[str]:
    found = [
        f'"base_model" with value "{model}" is not valid. Use a model id from https://hf.co/models.'
        for model in as_list(data.get("base_model"))
        if isinstance(model, str) and not REPO_ID.fullmatch(model)
    ]
    if data.get("base_model_relation", "merge") not in RELATIONS:
        found.append(f'"base_model_relation" must be one of {", ".join(RELATIONS)}')
    for index, entry in enumerate(as_list(data.get("model-index"))):
        found += [f'"model-index[{index}]": {complaint}' for complaint in _wrong_results(entry)]
    return found


def _wrong_results(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return ["must be a mapping"]
    missing = [f'"{key}" is required' for key in ("name", "results") if key not in entry]
    results = [result for result in as_list(entry.get("results")) if isinstance(result, dict)]
    for index, result in enumerate(results):
        missing += [
            f'"results[{index}].{key}" is required' for key in ("task", "dataset", "metrics") if key not in result
        ]
    return missing
