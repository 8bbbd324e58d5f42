"""Rows of a dataset: a Hub repository at a fixed commit, a local file, or a local folder, through `datasets`."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation.foreign import as_evaluation_error, quiet

_BUILDERS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
_WORDS_STAY_WORDS = {"keep_default_na": False, "na_values": [""]}  # "NA", "null" are texts; an empty cell is missing
_FILE = "rows"  # what `datasets` is told to call the only split of a single file


@dataclass(frozen=True)
class Location:
    """The files of a dataset, before any row is read.

    path: Hub id, or only the name of a local file or folder: what people are shown.
    origin: tells two sources apart; never shown.
    kind: of place; a file is one split without a name.
    files: split → addresses; Hub addresses hold the commit.
    builder, options, features: how `datasets` reads them.
    """

    path: str
    origin: str
    kind: Literal["file", "folder", "hub"]
    builder: str = ""
    files: Mapping[str, list[str]] = field(default_factory=dict)
    config: str | None = None
    revision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    features: Any = None


@dataclass(frozen=True)
class Table:
    """Rows with named columns, and what to call them in a message.

    folder: what names of files in it are relative to; None for rows from the Hub, which name no files.
    """

    rows: Any  # datasets.Dataset
    title: str
    folder: Path | None = None

    @property
    def names(self) -> list[str]:
        return list(self.rows.column_names)

    def where(self, column: str | None = None) -> str:
        return f"{self.title}, column {column}" if column else self.title

    def column(self, name: str) -> list[Any]:
        return list(self.rows[name])

    def class_names(self, name: str) -> list[str] | None:
        """What the integers of this column, or of the lists in it, stand for, if the dataset says so."""
        feature = self.rows.features[name]
        names = getattr(getattr(feature, "feature", feature), "names", None)
        return None if names is None else list(names)

    def is_text(self, name: str) -> bool:
        """Does this column hold words (and not numbers that a csv file spells)?"""
        if getattr(self.rows.features[name], "dtype", None) not in ("string", "large_string"):
            return False
        return not all(re.fullmatch(r"\s*[-+.\d]*\s*", value) for value in self.rows[name] if value is not None)


def locate(path: str, config: str | None, revision: str | None, *, token: str | None = None) -> Location:
    """Find the files; a Hub dataset is first resolved to a commit, and only that commit is ever read."""
    local = Path(path).expanduser()
    if local.is_file():
        return _file(local)
    if local.is_dir():
        return _folder(local, config)
    if local.suffix.lower() in _BUILDERS or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path):
        raise EvaluationError(f"{path}: no such file or folder")
    return _repository(path, config, revision, token)


def read(location: Location, split: str | None, *, token: str | None = None) -> Table:
    """The rows of one split; only its files are fetched. `datasets` keeps them in its usual cache.

    split: a name, or a slice such as `test[:10%]`; None where there is only one.
    """
    import datasets

    split, names = _chosen(location, split)
    title = location.path if location.kind == "file" else f"{location.path} [{split}]"
    features, options = location.features, dict(location.options)
    if location.builder == "csv":
        options |= _WORDS_STAY_WORDS
        if location.kind != "hub" and features is None:
            features = _strings(location.files[names[0]][0], options.get("sep", ","), title)
    with quiet(), as_evaluation_error(title):
        rows = datasets.load_dataset(
            location.builder,
            data_files={name: location.files[name] for name in names},
            split=split,
            features=features,
            token=token,
            **options,
        )
    if len(rows) == 0:
        raise EvaluationError(f"{title}: no rows; fill it, or name another dataset")
    folder = None if location.kind == "hub" else Path(location.files[names[0]][0]).parent
    return Table(rows, title, folder)


def _chosen(location: Location, split: str | None) -> tuple[str, list[str]]:
    """What to ask `datasets` for, and the splits that are in it."""
    names = list(location.files)
    if location.kind == "file" and split is not None:
        raise EvaluationError(f"{location.path}: a file has no splits; leave `split: {split}` out")
    if split is None:
        if len(names) != 1:
            raise EvaluationError(f"{location.path}: which split? It has {', '.join(names)}; say `split:`")
        return names[0], names
    wanted = [part.split("[")[0] for part in split.split("+")]
    for name in wanted:
        if name not in names:
            hint = did_you_mean(name, names)
            raise EvaluationError(f"{location.path}: no split {name!r}; it has {', '.join(names)}{hint}")
    return split, [name for name in names if name in wanted]


def _file(path: Path) -> Location:
    suffix = path.suffix.lower()
    if suffix not in _BUILDERS:
        kind = suffix or "a file without suffix"
        raise EvaluationError(f"{path.name}: cannot read {kind}; use {', '.join(_BUILDERS)}")
    options = {"sep": "\t"} if suffix == ".tsv" else {}
    return Location(path.name, _origin(path), "file", _BUILDERS[suffix], {_FILE: [str(path)]}, options=options)


def _folder(path: Path, config: str | None) -> Location:
    return _built(Location(path.name, _origin(path), "folder", config=config), str(path.resolve()), None)


def _origin(path: Path) -> str:
    return "local:" + hashlib.sha256(os.fsencode(path.resolve())).hexdigest()


def _repository(path: str, config: str | None, revision: str | None, token: str | None) -> Location:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        with as_evaluation_error(path):
            sha = HfApi(token=token).dataset_info(path, revision=revision).sha
    except EvaluationError as error:
        match error.__cause__:
            case GatedRepoError():
                reason = (
                    f"access has to be asked for at the Hub's page datasets/{path}, and a token given (`hf auth login`)"
                )
            case RepositoryNotFoundError():
                reason = "no such dataset on the Hub, or it is private; check the id, or log in with `hf auth login`"
            case RevisionNotFoundError():
                reason = f"the dataset has no revision {revision!r}"
            case _:
                raise
        raise EvaluationError(f"{path}: {reason}") from error.__cause__
    return _built(Location(path, f"hub:{path.casefold()}", "hub", config=config, revision=sha), path, token)


def _built(location: Location, path: str, token: str | None) -> Location:
    """Let `datasets` find splits and files, README settings included; then read only what is needed."""
    import datasets

    with quiet(), as_evaluation_error(location.path):
        builder = datasets.load_dataset_builder(path, location.config, revision=location.revision, token=token)
    settings = builder.config
    shared = {f.name for f in dataclasses.fields(datasets.BuilderConfig)} | {"features"}
    plain = type(settings)()
    options = {
        f.name: getattr(settings, f.name)
        for f in dataclasses.fields(settings)
        if f.name not in shared and getattr(settings, f.name) != getattr(plain, f.name)
    }
    files = {str(name): [str(file) for file in found] for name, found in (settings.data_files or {}).items()}
    return dataclasses.replace(
        location, builder=builder.name, files=files, options=options, features=builder.info.features
    )


def _strings(file: str, separator: str, name: str) -> Any:
    """Every column of a csv file as text, so that 007 stays 007 whatever the other rows hold."""
    from datasets import Features, Value

    with as_evaluation_error(name), open(file, encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter=separator)
        header, first = next(rows, []), next(rows, [])
    if len(first) > len(header) > 0:
        raise EvaluationError(f"{name}: the first line names {len(header)} columns, the second has {len(first)}")
    twice = [column for i, column in enumerate(header) if column in header[:i]]
    if twice:
        raise EvaluationError(f"{name}: column {twice[0]!r} occurs twice in the first line")
    # An unnamed column is what pandas makes of a saved index; this is its name for it.
    return Features({column or f"Unnamed: {i}": Value("string") for i, column in enumerate(header)})
