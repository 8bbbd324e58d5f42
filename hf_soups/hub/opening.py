"""From a reference (`org/name@revision`, a folder, `local:name`) to a pinned one, its headers, its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from hf_soups.checkpoint import Checkpoint, Files, LocalFiles, Lora, Origin, Stored, is_adapter
from hf_soups.checkpoint.stored import read_json
from hf_soups.errors import CheckpointError, HubError, RecipeError
from hf_soups.hub import notes
from hf_soups.hub.ahead import Reading
from hf_soups.hub.errors import explained
from hf_soups.hub.pull import pull
from hf_soups.hub.remote import RemoteFiles
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.recipe.types import folder_name

NEEDED = (".safetensors", ".safetensors.index.json")


@dataclass(frozen=True)
class Commit:
    """What one request tells of a repository at a revision."""

    repo: str
    sha: str
    sizes: Mapping[str, int]
    sha256: Mapping[str, str]
    card: Mapping[str, Any]
    folder: Path | None = None  # the cached snapshot, when offline


class Opener:
    """Opens ingredients, each Hub reference resolved to a commit once.

    token: for the Hub; default: HF_TOKEN or the login.
    local: folder in which `local:name` references are looked up.
    reading: how its remote files are read; to be changed in place.
    """

    def __init__(self, token: str | None = None, local: Path | None = None) -> None:
        self.token = token
        self.local = local
        self.reading = Reading()
        self._commits: dict[str, Commit] = {}
        self._opened: dict[tuple[str, str, str | None, str | None], Checkpoint] = {}

    def pin(self, recipe: Recipe) -> Recipe:
        """The recipe with every Hub reference as `repo@sha`, adapters' bases included."""
        base = self._pin_one(recipe.base, None) if recipe.base else None
        ingredients = tuple(
            replace(i, model=self.pin(i.model)) if isinstance(i.model, Recipe) else self._pin_one(i, base)
            for i in recipe.ingredients
        )
        return replace(recipe, ingredients=ingredients, base=base)

    def headers(self, ingredient: Ingredient) -> Checkpoint:
        """The checkpoint with names, shapes and dtypes; its tensors would be read over the network."""
        return self._open(ingredient, self._remote_files)

    def pull(self, ingredient: Ingredient) -> Checkpoint:
        """The checkpoint with its files on this disk."""
        return self._open(ingredient, self._pulled_files)

    def to_download(self, ingredient: Ingredient, stream: bool = False) -> dict[str, int]:
        """Bytes that pulling would fetch, by repository and commit; what the cache has counts nothing.

        stream: only the files beside the weights, which then are read anew.
        """
        if isinstance(ingredient.model, Recipe):
            inner = [*ingredient.model.ingredients, *([ingredient.model.base] if ingredient.model.base else [])]
            return {commit: count for part in inner for commit, count in self.to_download(part, stream).items()}
        found = {}
        for reference, subfolder in ((ingredient.model, ingredient.subfolder), (ingredient.base, None)):
            if reference is not None and _is_hub(self.settle(reference)):
                commit = self._commit(self.settle(reference))
                needed = [] if commit.folder else _needed(commit, subfolder)
                missing = [n for n in needed if not (n.endswith(".safetensors") if stream else _cached(commit, n))]
                found["/".join(filter(None, [reference, subfolder]))] = sum(commit.sizes[n] for n in missing)
        return found

    def _pin_one(self, ingredient: Ingredient, base: Ingredient | None) -> Ingredient:
        reference = self.settle(str(ingredient.model))
        if _is_hub(reference):
            commit = self._commit(reference)
            reference = f"{commit.repo}@{commit.sha}"
        pinned = replace(ingredient, model=reference)
        files, _ = self._remote_files(pinned)
        if not is_adapter(files):
            return replace(pinned, base=None) if ingredient.base is None else self._refuse_base(ingredient)
        return replace(pinned, base=self._adapter_base(pinned, files, base))

    def _refuse_base(self, ingredient: Ingredient) -> Ingredient:
        raise RecipeError(f"ingredients: {ingredient.label}: base: is for adapters, and this is a full model")

    def _adapter_base(self, ingredient: Ingredient, files: Files, base: Ingredient | None) -> str:
        """The pinned reference of the model that an adapter belongs on."""
        config = read_json(files, "adapter_config.json")
        said, revision = config.get("base_model_name_or_path"), config.get("revision")
        chosen = ingredient.base
        if chosen is None and isinstance(said, str) and said and not Path(said).is_absolute():
            chosen = f"{said}@{revision}" if revision and "@" not in said else said
            if not _looks_like_hub(chosen):
                chosen = None  # a path of the machine that trained it
            elif base is not None and _name(str(base.model)) == _name(chosen):
                chosen = _whole(base, ingredient)
        if chosen is None:
            if base is None:
                raise RecipeError(
                    f"{ingredient.label}: an adapter whose base is {said!r}, which cannot be found; name it with "
                    "base: (--base)"
                )
            chosen = _whole(base, ingredient)
        chosen = self.settle(chosen)
        if not _is_hub(chosen):
            return chosen
        commit = self._commit(chosen)
        return f"{commit.repo}@{commit.sha}"

    def _open(self, ingredient: Ingredient, get_files: Any) -> Checkpoint:
        """Each model once, so that adapters over one base share it."""
        key = (get_files.__name__, str(ingredient.model), ingredient.subfolder, ingredient.base)
        if key not in self._opened:
            self._opened[key] = self._open_anew(ingredient, get_files)
        return self._opened[key]

    def _open_anew(self, ingredient: Ingredient, get_files: Any) -> Checkpoint:
        files, origin = get_files(ingredient)
        if not is_adapter(files):
            return Stored(files, origin)
        adapter = Stored(files, origin, stem="adapter_model")
        if ingredient.base is None:
            raise RecipeError(f"{ingredient.label}: an adapter without a base; name it with base: (--base)")
        base = self._open(Ingredient(model=ingredient.base), get_files)
        return Lora(base, adapter)

    def _remote_files(self, ingredient: Ingredient) -> tuple[Files, Origin]:
        reference = self.settle(str(ingredient.model))
        if not _is_hub(reference):
            return self._folder(Path(reference), ingredient.subfolder)
        commit = self._commit(reference)
        origin = _origin(commit.repo, commit.sha, ingredient.subfolder, commit.card)
        prefix = f"{ingredient.subfolder.strip('/')}/" if ingredient.subfolder else ""
        proven = {n[len(prefix) :]: digest for n, digest in commit.sha256.items() if n.startswith(prefix)}
        origin = replace(origin, sha256=tuple(sorted(proven.items())))
        if commit.folder is not None:
            return LocalFiles(_below(commit.folder, ingredient.subfolder)), origin
        files = RemoteFiles(
            commit.repo, commit.sha, commit.sizes, ingredient.subfolder, self.token, commit.sha256, self.reading
        )
        return files, origin

    def _pulled_files(self, ingredient: Ingredient) -> tuple[Files, Origin]:
        files, origin = self._remote_files(ingredient)
        if isinstance(files, LocalFiles):
            return files, origin
        commit = self._commit(str(ingredient.model))
        names = _needed(commit, ingredient.subfolder)
        folder = commit.folder or pull(commit.repo, commit.sha, names, commit.sha256, self.token)
        return LocalFiles(_below(folder, ingredient.subfolder)), origin

    def _folder(self, path: Path, subfolder: str | None) -> tuple[Files, Origin]:
        folder = _below(path, subfolder)
        files = LocalFiles(folder)
        card = _front_matter(folder / "README.md")
        origin = _origin(folder_name(path), None, subfolder, card)
        return files, replace(origin, path=folder)

    def settle(self, reference: str) -> str:
        """`local:name` as the folder or file that it means here; anything else unchanged."""
        if not reference.startswith("local:"):
            return reference.removeprefix("hf://")
        name = reference.removeprefix("local:")
        if self.local is None:
            raise RecipeError(f"{reference}: on the disk of whoever made this; say where it is here with --local DIR")
        path = self.local / name
        if not path.resolve().is_relative_to(self.local.resolve()) or not path.exists():
            raise RecipeError(f"{reference}: there is no {name} in {self.local}")
        return str(path.resolve())

    def _commit(self, reference: str) -> Commit:
        if reference not in self._commits:
            repo, _, revision = reference.partition("@")
            commit = self._ask(repo, revision or None)
            self._commits[reference] = commit
            self._commits[f"{commit.repo}@{commit.sha}"] = commit
        return self._commits[reference]

    def _ask(self, repo: str, revision: str | None) -> Commit:
        from huggingface_hub import HfApi, constants

        where = f"{repo}@{revision}" if revision else repo
        if constants.HF_HUB_OFFLINE:
            with explained(where):
                return _from_cache(repo, revision, where)
        with explained(where):
            info = HfApi(library_name="hf_soups").model_info(
                repo, revision=revision, files_metadata=True, token=self.token
            )
        notes.remember(repo, revision, str(info.sha))
        siblings = info.siblings or []
        card = info.card_data.to_dict() if info.card_data else {}
        return Commit(
            repo=repo,
            sha=str(info.sha),
            sizes={s.rfilename: s.size or 0 for s in siblings},
            sha256={s.rfilename: s.lfs.sha256 for s in siblings if s.lfs},
            card=card,
        )


def _from_cache(repo: str, revision: str | None, where: str) -> Commit:
    """What is on this disk of the commit that the revision was when the Hub was last asked."""
    from huggingface_hub import try_to_load_from_cache

    known = notes.recall(repo, revision) or revision
    for name in ("config.json", "adapter_config.json"):
        found = try_to_load_from_cache(repo, name, revision=known)
        if isinstance(found, str):
            folder = Path(found).parent
            files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
            return Commit(repo, folder.name, files, {}, _front_matter(folder / "README.md"), folder)
    raise HubError(f"{where}: offline mode is on (HF_HUB_OFFLINE), and the cache does not have it")


def _origin(name: str, sha: str | None, subfolder: str | None, card: Mapping[str, Any]) -> Origin:
    bases = card.get("base_model") or []
    license_ = card.get("license")
    return Origin(
        name=name,
        sha=sha,
        subfolder=subfolder,
        license=license_ if isinstance(license_, str) else None,
        bases=tuple(map(str, [bases] if isinstance(bases, str) else bases)),
    )


def _needed(commit: Commit, subfolder: str | None) -> list[str]:
    """Every file that a soup of this commit reads or copies."""
    from fnmatch import fnmatchcase

    from hf_soups.checkpoint.stored import ASSETS, MODULE

    prefix = f"{subfolder.strip('/')}/" if subfolder else ""
    inside = [n for n in commit.sizes if n.startswith(prefix)]
    patterns = [*ASSETS, MODULE, "adapter_config.json", "README.md"]
    return [
        n
        for n in inside
        if ("/" not in n[len(prefix) :] and n.endswith(NEEDED))
        or any(fnmatchcase(n[len(prefix) :], p) for p in patterns)
    ]


def _cached(commit: Commit, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(commit.repo, name, revision=commit.sha), str)


def _front_matter(readme: Path) -> Mapping[str, Any]:
    """The YAML block that a card begins with; empty if there is none that can be read."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        content = yaml.safe_load(parts[1])
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{readme}: its front matter is not valid YAML; mend or remove it") from error
    return content if isinstance(content, dict) else {}


def _whole(base: Ingredient, adapter: Ingredient) -> str:
    """The recipe's base as an adapter's; RecipeError if it is a subfolder, which a reference cannot say."""
    if base.subfolder is not None:
        raise RecipeError(
            f"{adapter.label}: an adapter cannot take the recipe's base from its subfolder {base.subfolder!r}; copy "
            "that to a folder of its own, or name the adapter's base with base: on the ingredient"
        )
    return str(base.model)


def _below(folder: Path, subfolder: str | None) -> Path:
    if folder.is_file():
        raise CheckpointError(f"{folder}: is a file; name the folder that holds it")
    if subfolder is None:
        return folder
    inside = (folder / subfolder).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise RecipeError(f"subfolder {subfolder!r} leads out of {folder.name}")
    if not inside.is_dir():
        raise HubError(f"{folder.name}: no subfolder {subfolder!r}")
    return folder / subfolder


def _is_hub(reference: str) -> bool:
    return not Path(reference).is_absolute()


def _looks_like_hub(reference: str) -> bool:
    return not reference.startswith((".", "~", "/")) and reference.count("/") <= 1 and "\\" not in reference


def _name(reference: str) -> str:
    return reference.removeprefix("hf://").split("@")[0]
