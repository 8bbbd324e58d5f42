"""A study of Optuna's in a file: made or found again, worked on by any number of processes, until it has its trials."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hf_soups.errors import SelectionError

ALIVE = 5  # seconds between signs of life of a process that works on a trial
GONE = 30  # seconds without one, after which its trial is given up
WAIT = 0.2  # seconds between two looks at what other processes are doing
LOCKED = 120  # seconds that another process may keep the file to itself
IDENTITY = "recipe"  # the study's attribute that says what its numbers belong to


def optuna() -> Any:
    """The package; SelectionError says how to install it."""
    try:
        import cmaes  # noqa: F401  (its CMA-ES)
        import optuna
    except ImportError as error:
        raise SelectionError(
            f"select: search needs the package {error.name}; install it with: pip install 'hf-soups[optuna]'"
        ) from error
    return optuna


def open_study(file: Path, name: str, identity: str, directions: list[str]) -> Any:
    """The study of that name in an SQLite file, made if it is not there yet.

    identity: of all that decides its numbers. Raises SelectionError if the study there has another one.
    """
    package = optuna()
    from filelock import FileLock
    from sqlalchemy.exc import SQLAlchemyError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with quiet(), FileLock(f"{file}.lock"):  # two processes that make the tables at once would both fail
            storage = package.storages.RDBStorage(
                f"sqlite:///{file}",
                engine_kwargs={"connect_args": {"timeout": LOCKED}},
                heartbeat_interval=ALIVE,
                grace_period=GONE,
            )
            study = package.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
            found = study.user_attrs.get(IDENTITY)
            if found is None:
                study.set_user_attr(IDENTITY, identity)
    except (OSError, SQLAlchemyError) as error:
        raise SelectionError(
            f"{file}: the search cannot be kept there ({str(error).splitlines()[0]}); set HF_SOUPS_CACHE to a folder "
            "with room that may be written, or remove the file"
        ) from error
    if found not in (None, identity):
        raise SelectionError(
            f"study {name!r} in {file} was made with another recipe, other models or other data; choose another "
            "study: name, or leave it out"
        )
    return study


def run_trials(study: Any, objective: Callable[[Any], Any], count: int, sampler: str, seed: int) -> list[Any]:
    """Every finished trial once there are `count`, those of earlier runs and of other processes included.

    sampler: tpe or cmaes. Each trial draws from a stream of its own, of the seed and its number: a search that is
    resumed does not begin with the values that it began with before, nor do two processes with the same.

    Processes that begin the last trial at the same moment may make it a few more. Trials of processes that died are
    given up after half a minute and made up for.
    """
    from optuna.trial import TrialState

    def numbered(trial: Any) -> Any:
        study.sampler = _sampler(sampler, _mixed(seed, trial.number))  # TPE draws from now on
        return objective(trial)

    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    while True:
        with quiet():
            optuna().storages.fail_stale_trials(study)
            trials = study.get_trials(deepcopy=False, states=(*finished, TrialState.RUNNING))
            if len(trials) < count:
                study.sampler = _sampler(sampler, seed)  # CMA-ES draws before the objective is called, adds the number
                study.optimize(numbered, n_trials=1)
                continue
        if all(trial.state in finished for trial in trials):
            return sorted(trials, key=lambda trial: trial.number)
        time.sleep(WAIT)


def _sampler(name: str, seed: int) -> Any:
    samplers = optuna().samplers
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed)
    return samplers.TPESampler(seed=seed, multivariate=False)  # else it draws before the trial has its number


def _mixed(seed: int, number: int) -> int:
    """32 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "little")


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's own words: what a search does is told by whoever asked for it."""
    package = optuna()
    before = package.logging.get_verbosity()
    package.logging.set_verbosity(package.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", package.exceptions.ExperimentalWarning)
            yield
    finally:
        package.logging.set_verbosity(before)
