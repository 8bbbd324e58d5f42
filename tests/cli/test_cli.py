"""The commands as people and scripts type them: real processes, no terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_hub import LocalHub
from tests.models import classifier, fine_tune

COMMAND = [sys.executable, "-c", "from hf_soups.cli import main; main()"]


def soups(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two fine-tunes of one model on this disk."""
    root = tmp_path_factory.mktemp("models")
    base = classifier(root / "base")
    return [fine_tune(base, root / f"run-{i}", seed=i) for i in range(2)]


def test_help_does_not_import_what_it_does_not_need() -> None:
    heavy = ["torch", "transformers", "huggingface_hub", "datasets", "evaluate", "sklearn", "matplotlib", "pyarrow"]
    program = (
        "import sys; from hf_soups.cli import main; sys.argv = ['hf-soups', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "merge" in done.stdout and "plan" in done.stdout


def test_a_merge_of_folders_imports_nothing_of_the_hub(folders: list[Path], tmp_path: Path) -> None:
    heavy = ["torch", "transformers", "huggingface_hub", "filelock", "datasets", "sklearn", "matplotlib", "pyarrow"]
    program = (
        "import sys; from hf_soups.cli import main\n"
        f"try:\n    main()\nexcept SystemExit:\n    print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    words = ["merge", *map(str, folders), "-o", str(tmp_path / "soup"), "--quiet", "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert (tmp_path / "soup" / "README.md").is_file()


def test_merge_writes_a_folder_and_prints_only_its_name_on_stdout(folders: list[Path], tmp_path: Path) -> None:
    done = soups("merge", *folders, "-o", tmp_path / "soup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "soup")
    assert "average of 2" in done.stderr and "tensors" in done.stderr
    assert (tmp_path / "soup" / "soup.lock.json").is_file()


def test_the_device_is_chosen_by_name_recorded_and_refused_before_anything_is_read(
    folders: list[Path], tmp_path: Path
) -> None:
    done = soups("merge", *folders, "-o", tmp_path / "soup", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "soup" / "soup.lock.json").read_text())["device"] == "cpu"
    for command in ("merge", "plan", "evaluate"):
        out = ["-o", str(tmp_path / "no")] if command == "merge" else []
        refused = soups(command, *folders, *out, "--device", "cudda")
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1] == "Error: unknown device 'cudda'; did you mean 'cuda'?"


def test_plan_prints_on_stdout_and_json_is_one_object(folders: list[Path]) -> None:
    human = soups("plan", *folders)
    assert human.returncode == 0 and "run-0" in human.stdout and human.stderr == ""
    assert max(len(line) for line in human.stdout.splitlines()) <= 110
    content = json.loads(soups("plan", *folders, "--json").stdout)
    assert content["tensors"] == 41 and content["download"] == 0
    assert {p["name"] for p in content["parts"]} == {"run-0", "run-1"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["mrege"], 2, "No such command"),
        (["merge"], 2, "Missing argument"),
        (["merge", "{0}", "{1}"], 2, "where to? Give -o DIR"),
        (["merge", "{0}", "{1}", "-o", "{out}", "--method", "tise"], 1, "did you mean 'ties'"),
        (["merge", "{0}", "{1}", "-o", "{out}", "--param", "wieght=2"], 1, "did you mean 'weight'"),
        (["merge", "{0}", "{1}", "-o", "{out}", "--param", "weight"], 2, "write for instance density=0.2"),
        (["merge", "{0}", "{1}", "-o", "{out}", "--method", "ties"], 1, "name it with base: (--base)"),
        (["merge", "{0}", "./none", "-o", "{out}"], 1, "none: no such folder"),
        (["merge", "none.yaml", "-o", "{out}"], 1, "none.yaml: cannot be read"),
        (["merge", "{0}", "{1}", "-o", "{0}"], 1, "not empty"),
        (["plan", "{0}", "--json", "--quiet"], 2, "exclude each other"),
        (["methods", "slrep"], 1, "did you mean 'slerp'"),
        (["push", "{0}", "org/soup"], 1, "not a finished soup"),
        (["evaluate", "{0}"], 1, "no data"),
        (["evaluate", "{0}", "--dataset", "./none.csv"], 1, "none.csv"),
    ],
)
def test_mistakes_are_one_clear_line(
    folders: list[Path], tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    done = soups(*(a.format(*folders, out=tmp_path / "soup") for a in arguments))
    assert done.returncode == code, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    if code == 1:
        assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "soup").exists()


def test_debugging_shows_the_traceback() -> None:
    assert "Traceback" in soups("methods", "slrep", HF_DEBUG="1").stderr


def test_the_recipe_that_options_mean_can_be_printed_and_used(folders: list[Path], tmp_path: Path) -> None:
    printed = soups("merge", *folders, "--dtype", "bfloat16", "--print-recipe")
    assert printed.returncode == 0
    (tmp_path / "r.yaml").write_text(printed.stdout)
    done = soups("merge", tmp_path / "r.yaml", "-o", tmp_path / "soup")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "soup" / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_path_without_a_recipe_chooses_on_validation_and_reports_on_test(
    folders: list[Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, seed in (("train", 0), ("validation", 1), ("test", 2)):
        pairs = [("fine", "positive"), ("bad", "negative")] * 15
        rows = [f"good film {seed} {i} {word},{label}" for i, (word, label) in enumerate(pairs)]
        (data / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    done = soups("merge", *folders, "-o", tmp_path / "soup", "--dataset", data, "--allow-single")
    assert done.returncode == 0, done.stderr
    assert "greedy on validation by accuracy" in done.stderr
    table = done.stdout
    for name in ("run-0", "run-1", "uniform soup", "greedy soup", "ensemble", "validation (select)", "test (test)"):
        assert name in table
    assert max(len(line) for line in table.splitlines()[:-1]) <= 80
    assert done.stdout.splitlines()[-1] == str(tmp_path / "soup")


def test_a_token_is_never_shown(hub: LocalHub, folders: list[Path], tmp_path: Path) -> None:
    for token in (hub.token, hub.read_token, "hf_CANARYunknown"):
        done = soups("merge", "org-none/model", *folders, "-o", tmp_path / "soup", "--token", token)
        assert done.returncode == 1 and "CANARY" not in done.stdout + done.stderr


def test_every_method_has_a_page() -> None:
    listed = json.loads(soups("methods", "--json").stdout)
    for method in listed:
        page = soups("methods", method["name"]).stdout
        assert method["title"] in page and all(p["name"] in page for p in method["parameters"])
        assert all(p["doc"] for p in method["parameters"])


def test_a_sweep_is_told_value_by_value_and_printed_as_a_recipe(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    fine_tune(base, tmp_path / "run", seed=1)
    (tmp_path / "data.csv").write_text("text,label\ngood film,positive\nbad plot,negative\nfine,positive\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "base: ./base\ningredients: [./run]\nselect: {strategy: sweep, parameter: alpha, values: [0, 0.5, 1]}\n"
        "evaluate: {datasets: {validation: {path: ./data.csv, role: select}}}\n"
    )
    printed = soups("merge", recipe, "--print-recipe")
    assert "strategy: sweep\n  parameter: alpha\n  values:\n  - 0.0\n  - 0.5\n  - 1.0" in printed.stdout
    done = soups("merge", recipe, "-o", tmp_path / "soup", HF_SOUPS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "sweep of alpha: " in done.stderr and done.stderr.count(": validation ") == 3
    assert done.stderr.count("  taken  alpha ") == 1
    recipe.write_text(recipe.read_text().replace("parameter: alpha", "parameter: alhpa"))
    wrong = soups("merge", recipe, "-o", tmp_path / "soup")
    assert wrong.returncode == 1 and "did you mean 'alpha'?" in wrong.stderr and "Traceback" not in wrong.stderr
