"""Jobs in processes of their own, side by side, each process with its share of the cores.

Threads that share one small model wait for each other at every layer, and for any other program that takes one of
their cores: two threads are 1.6 times as fast as one on an idle machine, and many times slower on a busy one. Two
processes of one thread are twice as fast on either.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from hf_soups import errors
from hf_soups.errors import SoupError
from hf_soups.training.job import Job, Progress

ROOT = Path(__file__).parents[2]  # where the package is imported from, installed or not


def side_by_side(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
    """Do all jobs in `workers` processes. After the first error no further job starts; those running are finished."""
    queue, turn = iter(jobs), Lock()

    def report(name: str, done: int, total: int) -> None:
        with turn:
            progress(name, done, total)

    def until_the_queue_is_empty() -> None:
        with _worker(max(1, (os.cpu_count() or 1) // workers)) as process:
            try:
                while (job := _next(queue, turn)) is not None:
                    _hand_over(job, process, report)
            except BaseException:
                _empty(queue, turn)
                raise

    processes = min(workers, len(jobs))
    with ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(until_the_queue_is_empty) for _ in range(processes)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            _empty(queue, turn)
            raise


def _next(queue: Iterator[Job], turn: Lock) -> Job | None:
    with turn:
        return next(queue, None)


def _empty(queue: Iterator[Job], turn: Lock) -> None:
    with turn:
        list(queue)


def _worker(threads: int) -> subprocess.Popen[bytes]:
    """A process that takes jobs from its stdin and ends when that is closed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = {**os.environ, **count, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path}
    command = [sys.executable, "-m", "hf_soups.training.worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _hand_over(job: Job, process: subprocess.Popen[bytes], progress: Progress) -> None:
    """Let the process do one job; its error is raised here."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ValueError("the process needs pipes")
    try:
        pickle.dump(job, stdin)
        stdin.flush()
    except BrokenPipeError:
        pass  # it has ended; its status says how
    for line in stdout:
        said = json.loads(line)
        if "error" in said:
            raise getattr(errors, said["error"])(said["message"])
        if "finished" in said:
            return
        progress(job.name, said["done"], said["total"])
    status = process.wait()
    hint = "; probably out of memory: lower workers" if status == -9 else ""
    raise SoupError(f"{job.name}: its process ended with status {status}{hint}")
