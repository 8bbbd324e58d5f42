"""The card as text: first what it is and whether it is better, then everything else."""

from __future__ import annotations

import yaml

from hf_soups.card.answer import answer
from hf_soups.card.choice import choice, sentence
from hf_soups.card.evaluation import section
from hf_soups.card.facts import Candidate, Facts
from hf_soups.card.greedy_figure import GREEDY_FIGURE
from hf_soups.card.learning import learning, learning_sentence
from hf_soups.card.markdown import LONGEST, code, escape, is_repo, listed, origin_link, plain, table
from hf_soups.card.metadata import metadata, name
from hf_soups.card.task import CLASSES
from hf_soups.selection import Selection

ARXIV = "https://arxiv.org/abs"
SOUPS_PAPER = "arXiv:2203.05482"


def render(facts: Facts) -> str:
    """The README.md: YAML for the Hub, Markdown for people."""
    sections = [
        f"# {escape(name(facts))}",
        forced(facts),
        summary(facts),
        answer(facts),
        f"## How to use it\n\n{usage(facts)}",
        section(facts),
        choice(facts),
        learning(facts),
        f"## Ingredients\n\n{ingredients(facts)}",
        f"## How to make it again\n\n{reproduction(facts)}",
        noticed(facts),
        versions(facts),
    ]
    head = yaml.dump(metadata(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n\n".join(s for s in sections if s) + "\n"


def forced(facts: Facts) -> str:
    """Before anything else: that scores are of data which selection saw."""
    seen = [d for d in facts.results.datasets.values() if d.shared] if facts.results else []
    if not seen:
        return ""
    counts = listed([f"{d.shared:,} of the {d.n:,} rows of {escape(d.name)}" for d in seen])
    return (
        f"**Reported on data that selection saw.** {counts} had a say in what this soup is, by force "
        "(`allow_overlap`). Its scores and differences there are too good, and no proof of anything."
    )


def summary(facts: Facts) -> str:
    """What this is, in one paragraph."""
    kept, selection = facts.kept, facts.selection
    chosen = ""
    if selection is not None and selection.steps:
        rule = _paper_link(f"{escape(selection.strategy)} rule", SOUPS_PAPER)
        chosen = f", chosen from {len(facts.candidates)} candidates by the {rule} on {_target(selection)}"
        if facts.single:
            return (
                f"This is **{_named(kept[0])}**, unchanged: of {len(facts.candidates)} candidates the {rule} kept only "
                f"this one, since no soup had a better {_target(selection)}."
            )
    count = "1 fine-tuned model" if len(kept) == 1 else f"{len(kept)} fine-tuned models"
    adapters = sum(c.kind == "adapter" for c in kept)
    if adapters:
        count += f" ({adapters} of them LoRA adapters)" if adapters > 1 else " (1 of them a LoRA adapter)"
    base = ""
    if facts.base is not None:
        base = f" and {'its' if len(kept) == 1 else 'their'} base model {origin_link(facts.base)}"
    settings = ", ".join(f"{escape(n)} {value:g}" for n, value in facts.settings.items())
    method = _paper_link(escape(facts.method.title), facts.method.paper) + (f", with {settings}" if settings else "")
    how = ""
    if selection is not None:
        how = learning_sentence(selection.learned) if selection.learned else sentence(selection)
    return (
        f"A **model soup**: one model made of the weights of **{count}**{chosen}{base}. Method: {method}. "
        f"{how}{' ' if how else ''}It is as large and as fast as a single one of them."
    )


def usage(facts: Facts) -> str:
    """A snippet that loads it."""
    model = facts.repo_id if facts.repo_id and is_repo(facts.repo_id) else "path/to/this/folder"
    if facts.library_name != "transformers":
        return code(
            f'from safetensors.torch import load_file\n\nweights = load_file("{model}/model.safetensors")', "python"
        )
    classes = CLASSES.get(facts.pipeline_tag or "")
    if classes is None:
        return code(f'from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained("{model}")', "python")
    kind, processor = classes
    variable = "tokenizer" if processor == "AutoTokenizer" else "processor"
    return code(
        f"from transformers import {kind}, {processor}\n\n"
        f'{variable} = {processor}.from_pretrained("{model}")\n'
        f'model = {kind}.from_pretrained("{model}")',
        "python",
    )


def ingredients(facts: Facts) -> str:
    """Every model that was considered: which, under what licence, how good, and why it is in or not."""
    ranked = facts.selection is not None and any(c.step for c in facts.candidates)
    header = ["model", "kind", "licence", "weight"]
    if ranked and facts.selection is not None:
        header[3:] = [_target(facts.selection), "weight", "in the soup"]
    rows = []
    for candidate in facts.candidates:
        row = [_named(candidate), candidate.kind, escape(candidate.origin.license or "not stated")]
        if ranked:
            row.append(f"{candidate.step.alone:.4f}" if candidate.step else "")
        row.append(f"{candidate.weight:.3g}" if candidate.weight is not None else "varies" if candidate.kept else "0")
        if ranked:
            row.append(_reason(facts, candidate))
        rows.append(row)
    parts = [table(header, rows, numbers=False)]
    if facts.greedy_figure and facts.selection is not None:
        parts.append(f"![{_target(facts.selection)} by the number of ingredients]({GREEDY_FIGURE})")
    if facts.selection is not None and (said := cost(facts.selection)):
        parts.append(said)
    if facts.overridden:
        parts.append("Some tensors are made in another way: see `overrides` in the recipe.")
    if facts.license is None:
        parts.append("**Licence:** none is stated for this soup. Those of its ingredients hold.")
    else:
        parts.append(f"**Licence** of the soup: {escape(facts.license)}.")
    return "\n\n".join(parts)


def cost(selection: Selection) -> str:
    """What choosing took: rows that were run, as a share of running every candidate on all of them."""
    rows, exhaustive, singles = selection.cost
    if not exhaustive:
        return ""
    how = "" if selection.direction == "forward" else " Ingredients were taken out of the soup of all, one by one."
    return (
        f"Order of turns: {escape(selection.order, 2 * LONGEST)}.{how} A candidate that could not be accepted any more "
        f"was given up, which changes no choice: {rows:,} of {exhaustive:,} rows were run, "
        f"{rows / exhaustive:.0%} of running every candidate on all of them "
        f"({(rows + singles) / (exhaustive + singles):.0%} with the ingredients alone)."
    )


def reproduction(facts: Facts) -> str:
    """The recipe and the command."""
    where = " --local DIR" if facts.local else ""
    parts = [
        "`soup.yaml` beside this card is the recipe, with the choice already made and every model of the Hub at a "
        "fixed commit:",
        code(facts.soup_yaml, "yaml"),
        code(f"pip install hf-soups\nhf-soups merge soup.yaml -o soup{where}", "bash"),
    ]
    if facts.local:
        names = listed([escape(name) for name in facts.local])
        parts.append(f"Not on the Hub: {names}. `DIR` is the folder that holds what the recipe calls `local:`.")
    parts.append("`soup.lock.json` holds checksums of all inputs and outputs, and every number of this card.")
    return "\n\n".join(parts)


def noticed(facts: Facts) -> str:
    """What the merge warned of."""
    lines = [f"- **{f.level.capitalize()}:** {escape(f.message, 600)}" for f in facts.noticed]
    return "## What was noticed\n\n" + "\n".join(lines) if lines else ""


def versions(facts: Facts) -> str:
    """What it was made with."""
    listing = " · ".join(f"{escape(name)} {escape(version)}" for name, version in facts.versions.items())
    return f"---\n\nThis card was written by hf\\_soups. Versions: {listing}." if listing else ""


def _named(candidate: Candidate) -> str:
    """A link to the commit, behind the name that the recipe uses if it is another one."""
    link = origin_link(candidate.origin)
    own = "/".join(filter(None, [candidate.origin.name, candidate.origin.subfolder]))
    if candidate.kind == "soup":
        return escape(candidate.name)
    return link if plain(candidate.name) == plain(own) else f"{escape(candidate.name)}: {link}"


def _reason(facts: Facts, candidate: Candidate) -> str:
    step, selection = candidate.step, facts.selection
    if step is None or selection is None:
        return "yes" if candidate.kept else "no"
    if selection.first_alone is step:
        return "yes: the best alone" if selection.sorted else "yes: the first"
    answer = "yes" if step.kept else "no"
    found = f"{step.candidate:.4f}" if step.candidate is not None else f"at best {step.bound:.4f}"
    this, other = ("with", "without") if selection.direction == "forward" else ("without", "with")
    return f"{answer}: {found} {this} it, {step.best:.4f} {other}"


def _target(selection: Selection) -> str:
    """`validation accuracy`"""
    return escape(selection.goal, 2 * LONGEST)


def _paper_link(text: str, paper: str | None) -> str:
    return f"[{text}]({ARXIV}/{paper.removeprefix('arXiv:')})" if paper and paper.startswith("arXiv:") else text
