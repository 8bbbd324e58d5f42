"""What people call: each command as a function."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.engine import choose
from hf_soups.errors import SoupError
from hf_soups.evaluation.measures import refuse_untrusted
from hf_soups.hub.opening import Opener
from hf_soups.hub.predictions import dataset_of, predictions
from hf_soups.hub.push import push as push_folder
from hf_soups.pipeline.ask import Source, make_recipe
from hf_soups.pipeline.candidates import candidates_for
from hf_soups.pipeline.cluster import check_on, on_cluster
from hf_soups.pipeline.listener import Listener
from hf_soups.pipeline.options import Options
from hf_soups.pipeline.prepare import prepare
from hf_soups.pipeline.run import run
from hf_soups.pipeline.share import assist, own_device
from hf_soups.pipeline.stream import check_stream
from hf_soups.pipeline.taste import taste
from hf_soups.pipeline.write import Made, write
from hf_soups.planning import Plan
from hf_soups.ranks import Ranks
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.benchmarks import Benchmark
    from hf_soups.evaluation.metrics import Metric
    from hf_soups.evaluation.results import Results
    from hf_soups.placement import Memory
    from hf_soups.recipe import Recipe


def merge(
    source: Source,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    check: bool | None = None,
    allow_single: bool = False,
    stream: bool = False,
    push_to_hub: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
    local: str | Path | None = None,
    device: str = "auto",
    listener: Listener | None = None,
    ranks: Ranks | None = None,
    trust_remote_code: bool = False,
    cache: str | Path | None = None,
    max_memory: Memory | None = None,
    on: str | None = None,
    own: Mapping[str, Metric | Benchmark] | None = None,
    **changes: Any,
) -> Soup:
    """Make a soup: the whole main job, as far as the recipe asks for it.

    source: a recipe, its file, or model references (Hub ids, folders), which are averaged.
    out: folder to write; default: nothing is written, and tensors are computed when asked for.
    push_to_hub: repository id to publish the finished folder under, as one commit.
    ranks: the processes that write it together, from `hf_soups.ranks.join()`; every one of them calls this.
    own: what the recipe's `evaluate: metrics` only names, such as {"mine": own_function(f, greater_is_better=True)}.
    changes: as for `make_recipe`. The rest: as in `Options`.
    """
    options = Options.of(
        out=out,
        overwrite=overwrite,
        check=check,
        allow_single=allow_single,
        stream=stream,
        create_pr=create_pr,
        token=token,
        local=local or None,
        device=device,
        listener=listener,
        ranks=ranks,
        trust_remote_code=trust_remote_code,
        cache=cache,
        max_memory=max_memory,
        on=on,
        own=own,
    )
    with options.ranks as processes:
        if not processes.is_first:
            made = assist(options)
            if made is None:
                raise SoupError("process 0 ended without a soup")
            return made
        recipe = make_recipe(source, hub=push_to_hub, token=token, local=local, stream=stream, **changes)
        return run(recipe, options).soup


def plan(
    source: Source,
    *,
    out: str | Path | None = None,
    stream: bool = False,
    token: str | None = None,
    local: str | Path | None = None,
    device: str = "auto",
    own: Mapping[str, Metric | Benchmark] | None = None,
    **changes: Any,
) -> Plan:
    """What a merge would do, from headers alone; AlignmentError lists every reason why it would not.

    out, stream, device: as the merge would be called; they decide how much is fetched, and how much disk and memory
        it takes. own: as for `merge`.
    changes: as for `make_recipe`.
    """
    opener = Opener(token, Path(local) if local else None)
    recipe = make_recipe(source, token=token, local=local, stream=stream, **changes)
    if stream:
        check_stream(recipe)
    uploads = stream and out is None and recipe.output.hub is not None
    return prepare(recipe, opener, choose(device), stream=stream, uploads=uploads, own=own)[1]


def evaluate(
    source: Source,
    *,
    token: str | None = None,
    local: str | Path | None = None,
    device: str = "auto",
    listener: Listener | None = None,
    ranks: Ranks | None = None,
    trust_remote_code: bool = False,
    cache: str | Path | None = None,
    max_memory: Memory | None = None,
    on: str | None = None,
    own: Mapping[str, Metric | Benchmark] | None = None,
    **changes: Any,
) -> Results:
    """The table of base, every ingredient, the soup of all, and the ensemble; nothing is written.

    device, listener, trust_remote_code, cache, max_memory, on, own: as in `Options`.
    ranks: the processes that evaluate together, from `hf_soups.ranks.join()`; every one of them calls this.
    changes: as for `make_recipe`; `dataset` where the recipe has no evaluate section.
    """
    options = Options.of(
        token=token,
        local=local or None,
        device=device,
        listener=listener,
        ranks=ranks,
        trust_remote_code=trust_remote_code,
        cache=cache,
        max_memory=max_memory,
        on=on,
        own=own,
    )
    with options.ranks as processes:
        if not processes.is_first:
            assist(options)
            from hf_soups.evaluation.results import Results

            return Results.from_json(processes.share())
        results = _evaluate(make_recipe(source, token=token, local=local, **changes), options)
        processes.share(None)  # there are no more questions
        processes.share(results.to_json())
        return results


def _evaluate(recipe: Recipe, options: Options) -> Results:
    refuse_untrusted(recipe.evaluate, options.trust_remote_code)
    dataset_of(options.cache)
    check_on(options.on, recipe, options.ranks)
    opener = Opener(options.token, options.local)
    pinned, _, headers = prepare(recipe, opener, own_device(options.device, options.ranks), own=options.own)
    with predictions(options.cache, options.token, options.listener.tell) as cache:
        pinned, candidates = candidates_for(pinned, headers, opener, options, cache)
        with on_cluster(options, candidates, pinned):
            return taste(pinned, candidates, None)


def push(
    folder: str | Path, repo: str, *, private: bool = False, create_pr: bool = False, token: str | None = None
) -> str:
    """Publish a finished soup folder as one commit (or pull request); its address."""
    return push_folder(Path(folder), repo, private=private, create_pr=create_pr, token=token).url


def push_soup(soup: Soup, repo: str, *, private: bool = False, create_pr: bool = False) -> str:
    """Write a soup to a temporary folder, with its card, check it and publish it; its address."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "soup"
        write(Made(soup, repo=repo), out, overwrite=False, check=True, listener=Listener())
        return push(out, repo, private=private, create_pr=create_pr)
