"""What a merge leaves behind: a folder, complete or absent, or a repository, in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hf_soups import card, lock
from hf_soups.checkpoint import Checkpoint, new_folder
from hf_soups.errors import CheckpointError
from hf_soups.evaluation.findings import findings
from hf_soups.hub.finished import crc32
from hf_soups.hub.push import Push, Pushed
from hf_soups.pipeline.listener import Listener
from hf_soups.pipeline.share import Share, checksums, own_tensors, write_together
from hf_soups.ranks import Ranks
from hf_soups.recipe import Ingredient
from hf_soups.selection import Selection
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.results import Results


@dataclass(frozen=True)
class Made:
    """A soup and all that is told about it.

    every: all models that were considered, if some were left out.
    repo: where it will be published. remarks: what the card should warn of.
    fetch: bytes that will come over the network while it is written.
    """

    soup: Soup
    selection: Selection | None = None
    results: Results | None = None
    every: Sequence[tuple[Ingredient, Checkpoint]] = ()
    repo: str | None = None
    remarks: Sequence[str] = ()
    fetch: int = 0


def write(
    made: Made, out: Path, *, overwrite: bool, check: bool, listener: Listener, ranks: Ranks | None = None
) -> list[Share]:
    """The finished folder, in one rename: weights, assets, card and figure, records; who wrote which weights."""
    from hf_soups.model import check_folder

    soup = made.soup
    ranks = ranks or Ranks()
    with new_folder(out, overwrite) as folder, ranks.together():
        hosts = len(dict.fromkeys(ranks.hosts))
        several = f" with {ranks.size} processes on {hosts} host{'s'[: hosts != 1]}" if ranks.size > 1 else ""
        listener.tell(f"merging{several}")
        # what is read over the network tells of its own progress
        progress = None if made.fetch else listener.writing(sum(soup.effort(own_tensors(soup, ranks))))
        written = write_together(soup, folder, ranks, progress)
        lock.write_assets(soup, folder)
        if check:
            listener.tell("checking that it loads")
            check_folder(folder)
        _describe(made, folder, checksums(written), checked=check)
    return written


def upload(made: Made, repo: str, *, create_pr: bool, token: str | None, listener: Listener) -> Pushed:
    """The soup in one commit; each weight file is sent, and removed here, before the next is begun.

    Raises HubError, and nothing is published, if the branch moves meanwhile.
    """
    soup = made.soup
    sizes: dict[str, int] = {}
    sums: dict[str, str] = {}
    under_way = Push(repo, private=soup.recipe.output.private, create_pr=create_pr, token=token, tell=listener.tell)

    def finished(file: Path) -> None:
        name = file.relative_to(folder).as_posix()
        sizes[name], sums[name] = file.stat().st_size, crc32(file)
        if "/" not in name and under_way.upload(file):
            file.unlink()

    with tempfile.TemporaryDirectory(prefix="hf-soups-") as temporary:
        folder = Path(temporary)
        listener.tell("merging")
        progress = None if made.fetch else listener.writing(soup.bytes_read + soup.nbytes)
        written = soup.write(folder, soup.recipe.output.max_shard_size, progress, finished)
        if written != sums:
            raise CheckpointError(f"{folder}: its files changed before they were sent; nothing is published; try again")
        lock.write_assets(soup, folder)
        gone = {name: size for name, size in sizes.items() if not (folder / name).exists()}
        _describe(made, folder, written, checked=False, uploaded=gone)
        listener.tell(f"publishing {under_way.repo}")
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        return under_way.commit(folder, names)


def _describe(
    made: Made, folder: Path, sums: dict[str, str], *, checked: bool, uploaded: dict[str, int] | None = None
) -> None:
    """Card and records, the last files of a folder."""
    license_ = made.soup.recipe.output.license
    card.write(folder, made.soup, made.selection, made.results, made.every, license_, made.repo, remarks=made.remarks)
    selection = made.selection.to_json() if made.selection else None
    evaluation = made.results.to_json() if made.results else None
    told = findings(made.results) if made.results else ()
    lock.write_records(
        made.soup, folder, sums, selection, evaluation, checked=checked, uploaded=uploaded, findings=told
    )
