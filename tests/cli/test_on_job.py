"""`--on hf-job:FLAVOR`: the same command, the same soup, on a machine that has only what is on the Hub.

The job is a real process with a home of its own, started by the loopback Hub with the command, variables and secrets
that the real client sent. What cannot be had here is the container's image and what `pip install` would download: the
container of these tests has a `pip` that only writes down what it was asked for, and an `hf-soups` that is this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hf_soups
from tests.cli.test_cli import COMMAND, soups
from tests.local_hub import LocalHub, faults
from tests.local_hub.jobs import Container, Job
from tests.models import classifier, fine_tune
from tests.test_main_job import card, csv

PROGRAM = f"#!{sys.executable}\nfrom hf_soups.cli import main\nmain()\n"
PIP = '#!/bin/sh\necho "$@" >> "$PIP_LOG"\n'
NO_MODEL_RUNS = "from transformers import BertForSequenceClassification as B; B.forward = None\n"


@pytest.fixture(scope="module")
def published(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An organisation with two fine-tunes and a dataset, and alice's right to write there."""
    root = tmp_path_factory.mktemp("published")
    hub.create_org("jobs")
    base = classifier(root / "base")
    for number in range(2):
        hub.publish(f"jobs/run-{number}", card(fine_tune(base, root / f"run-{number}", seed=number, scale=0.2)))
    data = {
        f"{split}.csv": csv(root / f"{split}.csv", seed).read_bytes()
        for seed, split in enumerate(("validation", "test"))
    }
    hub.publish("jobs/data", data, repo_type="dataset")
    return "jobs"


@pytest.fixture
def recipe(published: str, tmp_path: Path) -> Path:
    lines = [
        f'ingredients: [{{model: {published}/run-0, name: "it\'s $HOME `ls` ü"}}, {published}/run-1]',
        "select: {strategy: greedy, on: validation}",
        "evaluate:",
        "  datasets:",
        f"    validation: {{path: {published}/data, split: validation, role: select}}",
        f"    test: {{path: {published}/data, split: test, role: test}}",
        'seed: 3   # it\'s "quoted" $HOME `ls` ü',
    ]
    (tmp_path / "recipe.yaml").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "recipe.yaml"


@pytest.fixture
def container(hub: LocalHub, tmp_path: Path) -> Iterator[Path]:
    """The folder of the programs that jobs find; jobs get nothing else of this process but the Hub's settings."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("pip", PIP), ("hf-soups", PROGRAM)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    given = hub.environment(tmp_path / "unused")
    for name in ("HF_HOME", "HF_TOKEN", "HF_ENDPOINT"):
        del given[name]  # the first is the job's own, the others come with it or not at all
    given |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", os.getcwd())}
    hub.site.jobs.container = Container(programs, {**given, "PIP_LOG": str(tmp_path / "pip.log")})
    yield programs
    hub.site.jobs.container = Container()


def newest(hub: LocalHub) -> Job:
    return list(hub.site.jobs.all.values())[-1]


def open_part(job: Job) -> str:
    """What everybody may read who sees the job."""
    return json.dumps({name: value for name, value in job.spec.items() if name != "secrets"})


def weights(hub: LocalHub, repo: str) -> bytes:
    return Path(hub.api().hf_hub_download(repo, "model.safetensors")).read_bytes()


def lock(hub: LocalHub, repo: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(Path(hub.api().hf_hub_download(repo, "soup.lock.json")).read_text())
    return content


def test_a_job_makes_the_soup_that_is_made_here(hub: LocalHub, recipe: Path, container: Path, tmp_path: Path) -> None:
    place = "hf://datasets/jobs/predictions"
    words: list[str | Path] = ["merge", recipe, "--on", "hf-job:cpu-basic", "--cache", place, "--yes", "--allow-single"]
    done = soups(*words, "--push-to-hub", "jobs/there")
    assert done.returncode == 0, done.stderr
    job = newest(hub)
    assert done.stdout == f"{hub.endpoint}/jobs/alice/{job.id}\n"
    for part in (
        "on cpu-basic: 2 vCPU",
        "$0.01 an hour",
        "greedy on validation",
        "sending 6 predictions",
        "made hf://",
    ):
        assert part in done.stderr, part

    assert job.spec["secrets"] == {"HF_TOKEN": hub.token}
    assert hub.token not in open_part(job) + done.stderr + done.stdout
    assert job.spec["timeoutSeconds"] == 1800 and job.spec["dockerImage"] == "python:3.12"
    assert (tmp_path / "pip.log").read_text().split()[-1] == "hf-soups[audio]==0.1.0"

    hf_soups.merge(recipe, push_to_hub="jobs/here", allow_single=True, cache=tmp_path / "here")
    assert weights(hub, "jobs/here") == weights(hub, "jobs/there")
    first, second = lock(hub, "jobs/here"), lock(hub, "jobs/there")
    for part in ("selection", "evaluation", "inputs"):
        assert first[part] == second[part], part

    stored = hub.api().list_repo_files("jobs/predictions", repo_type="dataset")
    assert sum(name.endswith(".arrow") for name in stored) == 6 and hub.api().dataset_info("jobs/predictions").private
    (container / "hf-soups").write_text(PROGRAM.replace("from hf_soups", f"{NO_MODEL_RUNS}from hf_soups"))
    again = soups(*words, "--push-to-hub", "jobs/again", "--no-check")
    assert again.returncode == 0, again.stderr
    assert "fetching 6 predictions" in again.stderr and "sending" not in again.stderr
    assert weights(hub, "jobs/again") == weights(hub, "jobs/there")


def test_a_job_that_fails_says_why_and_so_does_the_command(hub: LocalHub, recipe: Path, container: Path) -> None:
    (container / "hf-soups").write_text("#!/bin/sh\necho 'Error: no such luck' >&2\nexit 3\n")
    done = soups("evaluate", recipe, "--on", "hf-job:cpu-basic", "--yes", "-q")
    assert done.returncode == 1
    assert done.stdout == f"{newest(hub).id}\n"
    reason = "ended with ERROR; Job failed with exit code: 3; its last words: Error: no such luck"
    assert done.stderr == f"Error: job {newest(hub).id} {reason}\n"
    (container / "hf-soups").write_text("#!/bin/sh\nsleep 60\n")
    late = soups("evaluate", recipe, "--on", "hf-job:cpu-basic", "--yes", "--json", "--timeout", "1s")
    assert late.returncode == 1 and json.loads(late.stdout)["stage"] == "ERROR"
    assert late.stderr.endswith("ended with ERROR; Job timeout\n")


def test_a_detached_job_goes_on_alone(hub: LocalHub, recipe: Path, container: Path) -> None:
    (container / "hf-soups").write_text('#!/bin/sh\nsleep 1; echo "$@"; cat recipe.yaml\n')
    words = ["--push-to-hub", "jobs/x", "--no-check", "--device", "cpu", "--install", "git+https://example.com/soups"]
    done = soups("merge", recipe, "--on", "hf-job:t4-small", "--detach", "--yes", *words)
    job = newest(hub)
    assert done.returncode == 0 and not job.over, done.stderr
    assert done.stdout == f"{hub.endpoint}/jobs/alice/{job.id}\n"
    assert f"hf jobs logs -f alice/{job.id}" in done.stderr and f"hf jobs cancel alice/{job.id}" in done.stderr
    lines = [text for _, text in hub.site.jobs.wait(job.id).lines]
    assert lines[1] == "merge recipe.yaml --no-check --device cpu"
    printed = soups("merge", recipe, "--push-to-hub", "jobs/x", "--print-recipe")
    assert "\n".join(lines[2:]) == printed.stdout.rstrip("\n")
    assert "'hf-soups[audio] @ git+https://example.com/soups'" in job.spec["command"][2]
    assert hub.token not in open_part(job)
    assert "download.pytorch.org" not in job.spec["command"][2]  # this machine has a GPU


def test_a_machine_that_is_taken_away_loses_no_batch(
    hub: LocalHub, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM, as containers get it; the next machine asks the model for the other batches alone."""
    from transformers import BertForSequenceClassification as Bert

    slow = recipe.with_name("slow.yaml")
    test = "{path: jobs/data, split: test, role: test}"
    slow.write_text(f"ingredients: [jobs/run-0]\nevaluate: {{batch_size: 4, datasets: {{test: {test}}}}}\n")
    place = "hf://datasets/jobs/batches"
    program = """
import time
from transformers import BertForSequenceClassification as B
forward, calls = B.forward, []
def once(self, input_ids, attention_mask=None, **others):
    calls.append(1)
    time.sleep(60 * (len(calls) > 3))
    return forward(self, input_ids, attention_mask, **others)
B.forward = once
from hf_soups.cli import main
main()
"""
    command = [sys.executable, "-c", program, "evaluate", str(slow), "--cache", place]
    taken = subprocess.Popen(
        command, env={**os.environ, "HF_SOUPS_CACHE": str(tmp_path / "one")}, stderr=subprocess.PIPE
    )
    while taken.poll() is None and sum(p.stat().st_size for p in tmp_path.glob("one/*/*.part")) < 3 * 300:
        time.sleep(0.1)
    taken.send_signal(signal.SIGTERM)
    _, said = taken.communicate(timeout=60)
    assert taken.returncode == 128 + signal.SIGTERM, said

    forward, calls = Bert.forward, []

    def counted(self: Bert, *arguments: Any, **others: Any) -> Any:
        calls.append(1)
        return forward(self, *arguments, **others)

    monkeypatch.setattr(Bert, "forward", counted)
    monkeypatch.setenv("HF_SOUPS_CACHE", str(tmp_path / "two"))
    hf_soups.evaluate(slow, cache=place)
    assert 0 < len(calls) <= 8  # of ten batches


def test_interrupted_it_leaves_the_job_running(hub: LocalHub, recipe: Path, container: Path) -> None:
    (container / "hf-soups").write_text("#!/bin/sh\necho begun; sleep 60\n")
    command = [*COMMAND, "evaluate", str(recipe), "--on", "hf-job:cpu-basic", "--yes"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where these tests run in the background
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        try:
            url = running.stdout.readline()
            with contextlib.suppress(StopIteration):
                while next(running.stderr).strip() != "begun":
                    pass
            running.send_signal(signal.SIGINT)
            _, rest = running.communicate(timeout=30)
        finally:
            running.kill()
    job = newest(hub)
    assert running.returncode == 130 and job.id in url
    assert rest.startswith("The job goes on.\nTo follow it: hf jobs logs -f alice/")
    assert not job.over
    hub.api().cancel_job(job_id=job.id)
    assert job.stage == "CANCELED"


def test_what_is_only_here_is_named_before_anything_is_paid(hub: LocalHub, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "rows.csv").write_text("text,label\na,0\n")
    local = recipe.with_name("local.yaml")
    local.write_text(
        "base: ./model\ningredients: [jobs/run-0, {method: average, ingredients: [./model, local:tuned]}]\n"
        "evaluate:\n"
        "  datasets: {rows: {path: rows.csv, role: test}, far: {path: jobs/data, split: test, role: shift}}\n"
        "  baselines: [./model, jobs/run-1]\n"
    )
    done = soups("merge", local, "-o", "soup", "--on", "hf-job:cpu-basic", "--cache", "here", "--yes")
    assert done.returncode == 1
    assert [line.split(":")[0].split(" /")[0] for line in done.stderr.splitlines()] == [
        "Error",
        "  model",
        "  local",
        "  model",
        "  dataset rows",
        "  baseline",
        "  -o soup",
        "  no --push-to-hub ID",
        "  --cache here",
    ]
    assert f"hf upload ORG/NAME {tmp_path / 'rows.csv'} --repo-type dataset" in done.stderr
    assert not hub.log("/api/jobs")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--on", "hf-job:cpu-basik", "--yes"], 1, "no machine 'cpu-basik' for jobs; did you mean 'cpu-basic'?"),
        (["--on", "hf-job:cpu-tiny", "--yes"], 1, "cpu-tiny has 1.0 kB of memory, this takes"),
        (["--on", "hf-jobs:cpu-basic"], 2, "did you mean 'hf-job'?"),
        (["--on", "hf-job"], 2, "on which machine? For instance hf-job:cpu-basic"),
        (["--on", "hf-job:cpu-basic"], 2, "costs money? Nobody can be asked here; add --yes"),
        (["--on", "hf-job:cpu-basic", "--yes", "--timeout", "soon"], 2, "--timeout soon: write for instance 30m"),
        (["--on", "hf-job:cpu-basic", "--yes", "--cache", "hf://jobs/x"], 1, "write hf://datasets/ORG/NAME"),
        (["--detach"], 2, "are for --on hf-job:FLAVOR; add it"),
    ],
)
def test_mistakes_are_told_before_a_job_is_started(
    hub: LocalHub, recipe: Path, words: list[str], code: int, said: str
) -> None:
    done = soups("merge", recipe, "--push-to-hub", "jobs/x", *words)
    assert done.returncode == code and said in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr and not hub.log("POST /api/jobs")


def test_who_may_not_run_jobs_is_told_so(hub: LocalHub, recipe: Path) -> None:
    words: list[str | Path] = ["evaluate", recipe, "--on", "hf-job:cpu-basic", "--yes"]
    nobody = soups(*words, HF_TOKEN="")
    assert nobody.returncode == 1 and "jobs take a token that may run them: log in with" in nobody.stderr
    assert not hub.log("POST /api/jobs")
    reader = soups(*words, "--token", hub.read_token)
    assert reader.returncode == 1 and "the token may not run jobs" in reader.stderr
    assert hub.read_token not in reader.stderr
    with hub.fault("POST /api/jobs", faults.status(402)):
        poor = soups(*words)
    assert poor.returncode == 1 and "Error: a job on cpu-basic: " in poor.stderr and "402" in poor.stderr
