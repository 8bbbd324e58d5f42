"""Jobs that really run, as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .repos import now

FINAL = ("COMPLETED", "ERROR", "CANCELED", "DELETED")


@dataclass
class Container:
    """What a job's image would give it, in place of an image.

    programs: folder of the programs that it finds before the machine's own.
    environment: its variables, beside those of the job.
    """

    programs: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Job:
    """A command of somebody, running or over.

    spec: as the client sent it.
    """

    def __init__(self, owner: str, spec: dict[str, Any], container: Container) -> None:
        self.id = secrets.token_hex(12)
        self.owner = owner
        self.spec = spec
        self.stage = "SCHEDULING"
        self.message: str | None = None
        self.created = now()
        self.lines: list[tuple[str, str]] = []  # time and text
        self.changed = threading.Condition()
        self._container = container
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return self.stage in FINAL

    def described(self) -> dict[str, Any]:
        """As the API tells it; secrets are told to nobody."""
        shown = ("dockerImage", "command", "arguments", "environment", "flavor", "labels")
        return {
            "id": self.id,
            "createdAt": self.created,
            "owner": {"id": self.owner, "name": self.owner, "type": "user"},
            "status": {"stage": self.stage, "message": self.message},
            "secrets": {},
            **{name: self.spec.get(name) for name in shown},
        }

    def printed(self) -> Iterator[tuple[str, str] | None]:
        """Each line and its time as they come, to the end; None now and then while there are none."""
        number = 0
        while True:
            with self.changed:
                if number == len(self.lines) and not self.over:
                    self.changed.wait(1.0)
                lines, over = self.lines[number:], self.over
            yield from lines
            if not lines:
                yield None
            number += len(lines)
            if over:
                return

    def stop(self, stage: str, message: str | None = None) -> None:
        """End it and every process that it started."""
        self._finish(stage, message)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="job-") as home:
            programs = [str(self._container.programs)] if self._container.programs else []
            path = os.pathsep.join([*programs, "/usr/local/bin", "/usr/bin", "/bin"])
            environment = {"PATH": path, "HOME": home, "HF_HOME": f"{home}/hf", **self._container.environment}
            environment |= {**self.spec.get("environment", {}), **self.spec.get("secrets", {})}
            self._process = subprocess.Popen(
                [*self.spec["command"], *self.spec.get("arguments", [])],
                cwd=home,
                env=environment,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            limit = threading.Timer(self.spec.get("timeoutSeconds", 1800), lambda: self.stop("ERROR", "Job timeout"))
            limit.start()
            self._print("===== Job started =====")
            with self.changed:
                self.stage = self.stage if self.over else "RUNNING"
            assert self._process.stdout is not None
            with self._process.stdout as output:
                for line in output:
                    self._print(line.rstrip("\n"))
            code = self._process.wait()
            limit.cancel()
        self._finish("COMPLETED", None) if code == 0 else self._finish("ERROR", f"Job failed with exit code: {code}")

    def _print(self, text: str) -> None:
        with self.changed:
            self.lines.append((now(), text))
            self.changed.notify_all()

    def _finish(self, stage: str, message: str | None) -> None:
        with self.changed:
            if not self.over:
                self.stage, self.message = stage, message
            self.changed.notify_all()


class Jobs:
    """All jobs of the Hub, and what stands in for their images."""

    def __init__(self) -> None:
        self.container = Container()
        self.all: dict[str, Job] = {}

    def start(self, owner: str, spec: dict[str, Any]) -> Job:
        job = Job(owner, spec, self.container)
        self.all[job.id] = job
        return job

    def close(self) -> None:
        """End those that still run."""
        for job in self.all.values():
            if not job.over:
                job.stop("CANCELED")

    def wait(self, job_id: str, limit: float = 60.0) -> Job:
        """The job once it is over."""
        job, deadline = self.all[job_id], time.monotonic() + limit
        with job.changed:
            while not job.over and time.monotonic() < deadline:
                job.changed.wait(0.5)
        return job
