"""Public fine-tunes and adapters of a base that would fit into one soup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hf_soups.align import Finding, config_of, label_names
from hf_soups.align.groups import Party, align_all, backbone, group, heads, is_kin, why_not
from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import RecipeError, SoupError
from hf_soups.hub.ahead import Reading
from hf_soups.hub.errors import explained
from hf_soups.hub.found import VERDICTS, Candidate, Filter, Found
from hf_soups.hub.look import Allowance, Look, keep_config, look_into, patiently
from hf_soups.hub.opening import Opener
from hf_soups.recipe import Ingredient, Recipe

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.hf_api import ExpandModelProperty_T

KINDS = ("finetune", "adapter")  # relations to a base; quantised copies and merges are no ingredients
LISTED = 1000  # of each kind, the most downloaded first
# of each line of the listing; cards would be most of its bytes
FACTS: list[ExpandModelProperty_T] = ["downloads", "pipeline_tag", "tags"]
BYTES_EACH = 250_000  # of headers and configs, on average


def find(
    base: str,
    *,
    labels: Sequence[str] | None = None,
    license: str | Sequence[str] | None = None,
    task: str | None = None,
    limit: int = 100,
    token: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """The fine-tunes and adapters of a base that could go into one soup, from headers and configs alone.

    base: Hub id, `org/name` or `org/name@revision`.
    labels: names of the head's outputs, in any order and case; placeholders (LABEL_0) do not count as any name.
    license: one id of the Hub, or several of which one will do. task: a pipeline tag, such as text-classification.
    limit: look into at most so many, the most downloaded first.
    token: for the Hub; default: HF_TOKEN or the login.
    progress: told how many of how many were looked into.

    Those that fit are the largest group with equal names, shapes, architectures and labels; groups on the base's own
    shapes come before others. Whatever is wrong with one repository is in its `reasons`. Raises HubError if the base
    cannot be found or the Hub does not list, RecipeError for a limit below 1.
    """
    if limit < 1:
        raise RecipeError(f"limit: {limit}: at least one has to be looked into")
    allowance = Allowance(BYTES_EACH * max(limit, 40))
    opener = Opener(token)
    opener.reading = Reading(heard=allowance.heard)
    pinned, name = _pin(base.removeprefix("hf://"), opener, token)
    root, findings = _open(pinned, opener)
    licenses = [license] if isinstance(license, str) else list(license or [])
    candidates = [_candidate(info, kind) for info, kind in _listing(name, token)]
    listed = len(candidates)
    filters: list[Filter] = []
    if licenses:
        candidates = _keep(candidates, filters, "--license", licenses, lambda c: _in(c.license, licenses))
    if task is not None:  # of those that the listing tells; the others are asked
        candidates = _keep(candidates, filters, "--task", [task], lambda c: c.task is None or _in(c.task, [task]))
    filters.append(Filter("--limit", str(limit), max(0, len(candidates) - limit)))
    candidates = candidates[:limit]
    looks: dict[str, Look] = {}
    for look in look_into([c.repo for c in candidates], opener, None if root is None else pinned, allowance):
        looks[look.repo] = look
        progress(len(looks), len(candidates))
    candidates = [_looked(c, looks[c.repo]) for c in candidates]
    if task is not None:
        candidates = _keep(candidates, filters, "--task", [task], lambda c: not c.reference or _in(c.task, [task]))
    if labels is not None:
        wanted = sorted(label.lower() for label in labels)
        candidates = _keep(
            candidates,
            filters,
            "--labels",
            labels,
            lambda c: not c.reference or sorted(label.lower() for label in c.labels or ()) == wanted,
        )
    parties = {c.repo: party for c in candidates if (party := _party(looks[c.repo])) is not None}
    chosen = _choose(group(list(parties.values())), root)
    judged = [_judge(c, looks[c.repo], chosen) for c in candidates]
    judged.sort(key=lambda c: (list(VERDICTS).index(c.verdict), -c.downloads))
    if chosen:
        findings += _about(chosen, root, name)
    recipe = _recipe(chosen, pinned, root) if len(chosen) > 1 else None
    return Found(str(pinned.model), listed, tuple(judged), tuple(filters), recipe, tuple(findings))


def _pin(base: str, opener: Opener, token: str | None) -> tuple[Ingredient, str]:
    """The base at a commit, and its present name, which is the one that fine-tunes are listed by."""
    from huggingface_hub import HfApi

    repo, _, revision = base.partition("@")

    def ask() -> ModelInfo:
        with explained(base):
            return HfApi(library_name="hf_soups").model_info(repo, revision=revision or None, token=token)

    info = patiently(ask)
    reference = f"{info.id}@{info.sha}"
    pinned = patiently(lambda: opener.pin(Recipe(ingredients=(Ingredient(reference),))).ingredients[0])
    return pinned, info.id


def _open(pinned: Ingredient, opener: Opener) -> tuple[Checkpoint | None, list[Finding]]:
    """The base's headers; where they cannot be read, the others can still be compared with each other."""
    try:
        root = patiently(lambda: opener.headers(pinned))
        keep_config(root)
        return root, []
    except SoupError as error:
        said = f"the base's headers cannot be read, so the others are compared with each other alone: {error}"
        return None, [Finding("warning", said)]


def _listing(name: str, token: str | None) -> Iterator[tuple[ModelInfo, str]]:
    """Every repository once, the most downloaded first."""
    from huggingface_hub import HfApi

    def ask(kind: str) -> list[ModelInfo]:
        with explained(f"fine-tunes of {name}"):
            relation = f"base_model:{kind}:{name}"
            api = HfApi(library_name="hf_soups")
            return list(api.list_models(filter=relation, sort="downloads", limit=LISTED, expand=FACTS, token=token))

    found: dict[str, tuple[ModelInfo, str]] = {}
    for kind in KINDS:
        for info in ask(kind):  # the client itself asks again
            found.setdefault(info.id, (info, kind))
    yield from sorted(found.values(), key=lambda pair: (-(pair[0].downloads or 0), pair[0].id))


def _candidate(info: ModelInfo, kind: str) -> Candidate:
    said = next((tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")), None)
    return Candidate(info.id, kind, info.downloads or 0, said, info.pipeline_tag)


def _keep(
    candidates: list[Candidate],
    filters: list[Filter],
    option: str,
    wanted: Sequence[str],
    passes: Callable[[Candidate], bool],
) -> list[Candidate]:
    """Those that pass; what the others have instead is noted for whoever mistyped an option."""
    kept = [c for c in candidates if passes(c)]
    instead = {_value(c, option) for c in candidates if c not in kept} - {""}
    filters.append(Filter(option, ",".join(wanted), len(candidates) - len(kept), tuple(sorted(instead))))
    return kept


def _value(candidate: Candidate, option: str) -> str:
    return {
        "--license": candidate.license or "",
        "--task": candidate.task or "",
        "--labels": ",".join(candidate.labels or ()),
    }[option]


def _in(value: str | None, allowed: Sequence[str]) -> bool:
    return value is not None and value.lower() in [word.lower() for word in allowed]


def _looked(candidate: Candidate, look: Look) -> Candidate:
    if look.problem is not None or look.ingredient is None:
        return replace(candidate, reasons=(look.problem or "",))
    task = candidate.task or look.task
    return replace(candidate, reference=str(look.ingredient.model), labels=look.labels, task=task)


def _party(look: Look) -> Party | None:
    usable = look.ingredient is not None and look.checkpoint is not None and look.refused is None
    return (look.ingredient, look.checkpoint) if usable else None  # type: ignore[return-value]


def _choose(groups: list[list[Party]], root: Checkpoint | None) -> list[Party]:
    """The largest group, of several on the base's own shapes if there are such; of equal ones the first."""
    if not groups:
        return []
    return max(
        groups,
        key=lambda members: (len(members) > 1, root is not None and is_kin(members[0][1], root), len(members)),
    )


def _judge(candidate: Candidate, look: Look, chosen: list[Party]) -> Candidate:
    if look.ingredient is None or look.checkpoint is None:
        return candidate
    if look.refused is not None:
        return replace(candidate, verdict="does not fit", reasons=(look.refused,))
    party = (look.ingredient, look.checkpoint)
    if any(member is look.ingredient for member, _ in chosen):
        return replace(candidate, verdict="fits")
    reasons = why_not(chosen, party)
    (ingredient, leader), own = chosen[0], look.checkpoint
    names = label_names(config_of(leader), ingredient.label)
    other = heads(own) != heads(leader) or look.labels != names
    verdict = "other head" if other and backbone(own) == backbone(leader) else "does not fit"
    return replace(candidate, verdict=verdict, reasons=reasons)


def _about(chosen: list[Party], root: Checkpoint | None, name: str) -> list[Finding]:
    """What the group has of the base, what it has of its own, and what aligning all of it warns about."""
    leader = chosen[0][1]
    found = [f for f in align_all(chosen) if f.level == "warning"] if len(chosen) > 1 else []
    if root is None:
        return found
    if not is_kin(leader, root):
        said = f"those that fit each other do not have the names and shapes of {name}; look at what they really are"
        return [Finding("warning", said), *found]
    own = [f"{n} {shape}" for n, shape in heads(leader).items() if n not in root.specs]
    shared = sum(n in root.specs for n in leader.specs)
    said = f"{shared} of their {len(leader)} tensors are the base's"
    return [Finding("note", said + (f"; of their own: {', '.join(own[:4])}" if own else "")), *found]


def _recipe(chosen: list[Party], pinned: Ingredient, root: Checkpoint | None) -> Recipe:
    """An average of them; with the base where it has all their tensors, so that methods over differences work too."""
    leader = chosen[0][1]
    shapes = {n: spec.shape for n, spec in leader.specs.items()}
    whole = root is not None and shapes == {n: spec.shape for n, spec in root.specs.items()}
    return Recipe(ingredients=tuple(ingredient for ingredient, _ in chosen), base=pinned if whole else None)
