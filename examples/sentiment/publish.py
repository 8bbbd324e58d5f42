"""Puts the example's data, head and ingredients on the Hub (HF_ENDPOINT), one commit per repository.

    python examples/sentiment/publish.py DIR --namespace me

DIR is what prepare.py made, with the sweep's folders in DIR/models. Everything goes under one namespace: your own, on
the real Hub. DIR/soup.yaml is the recipe with the same names. A second call with the same files commits nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hf_soups.errors import HubError, SoupError

HERE = Path(__file__).parent
NAMESPACE = "demo"  # what sweep.yaml and soup.yaml say
DATASET = "sentiment-domains"
PREFIX = "minilm-sentiment-"
NAMED_INSIDE = ("README.md", "adapter_config.json", "training.json")  # files that name the other repositories
KEPT = (".gitattributes",)  # made by the Hub


def publish(folder: Path, namespace: str = NAMESPACE, *, token: str | None = None) -> list[str]:
    """Publish everything and write `soup.yaml` beside it; returns the repositories, the dataset first.

    folder: what `prepare` made; `models` in it is what `finetune` made.
    """
    models = sorted(path.parent for path in (folder / "models").glob("*/training.json"))
    if not models:
        raise SoupError(
            f"{folder / 'models'}: no models; run `hf-soups finetune {folder / 'sweep.yaml'} -o` on it first"
        )
    published = [publish_folder(folder / DATASET, DATASET, namespace, repo_type="dataset", token=token)]
    published += [publish_folder(model, PREFIX + model.name, namespace, token=token) for model in models]
    (folder / "soup.yaml").write_text(recipe(namespace), encoding="utf-8")
    return published


def publish_folder(
    folder: Path, name: str, namespace: str = NAMESPACE, *, repo_type: str = "model", token: str | None = None
) -> str:
    """Make one repository hold exactly what the folder holds, in at most one commit; returns its id."""
    api = HfApi(token=token)
    repo_id = f"{namespace}/{name}"
    contents = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    try:
        api.create_repo(repo_id, repo_type=repo_type, exist_ok=True)
        extra = set(api.list_repo_files(repo_id, repo_type=repo_type)) - set(contents) - set(KEPT)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, _content(file, namespace)) for path, file in contents.items()
        ]
        operations += [CommitOperationDelete(path) for path in sorted(extra)]
        # The client leaves out files that the repository has already, and an empty commit altogether.
        api.create_commit(repo_id, operations, commit_message=f"Add {name}", repo_type=repo_type)
    except HfHubHTTPError as error:
        raise HubError(f"{repo_id}: cannot be published: {error}; log in with `hf auth login`") from error
    return repo_id


def recipe(namespace: str = NAMESPACE) -> str:
    """The text of soup.yaml for models and data under this namespace."""
    return _renamed((HERE / "soup.yaml").read_text(encoding="utf-8"), namespace)


def _content(file: Path, namespace: str) -> str | bytes:
    if file.name in NAMED_INSIDE and namespace != NAMESPACE:
        return _renamed(file.read_text(encoding="utf-8"), namespace).encode()
    return str(file)


def _renamed(text: str, namespace: str) -> str:
    for name in (PREFIX, DATASET):
        text = text.replace(f"{NAMESPACE}/{name}", f"{namespace}/{name}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what prepare.py made")
    parser.add_argument("--namespace", default=NAMESPACE, help="user or organisation on the Hub")
    arguments = parser.parse_args()
    try:
        print("\n".join(publish(arguments.folder, arguments.namespace)))
    except SoupError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
