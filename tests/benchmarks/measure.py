"""What one command costs: wall seconds, CPU seconds, peak resident memory, in a fresh process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = Path(__file__).with_name("launcher.py")
READ = 1 << 22  # bytes at a time


@dataclass(frozen=True)
class Cost:
    """One run of one command.

    wall, cpu: seconds; cpu is user plus system of the process and its children.
    peak_mb: the kernel's maximum resident set (ru_maxrss) in 10^6 bytes: mapped file pages count; of several
    processes it is the largest one's. About 10 MB is the least that can be seen.
    error: the last line that a failed command printed, or that it took too long; then no figure is a cost.
    """

    wall: float
    cpu: float
    peak_mb: float
    error: str | None = None


def environment() -> dict[str, str]:
    """This checkout's package, no network, no colours."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}


def measure(command: Sequence[str], limit: float | None = None, out: Path | None = None) -> Cost:
    """Run the command and say what it cost.

    limit: seconds after which it is killed and reported as failed.
    out: the folder that it writes; removed before and after, so that each run writes anew.
    """
    _clear(out)
    with tempfile.TemporaryDirectory(prefix="hf-soups-bench-") as scratch:
        log = Path(scratch) / "log"
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(log), *command],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        try:
            report, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return Cost(limit or 0.0, 0.0, 0.0, f"not finished after {limit:.0f} s")
        finally:
            if process.poll() is None:  # the limit, or an interrupt: the command goes too
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            _clear(out)
        if not report:
            return Cost(0.0, 0.0, 0.0, "killed, and its launcher with it")
        found = json.loads(report)
        code = found.pop("code")
        return Cost(**found, error=None if code == 0 else f"exit code {code}: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last line with text; progress bars write over theirs."""
    lines = [line.strip() for line in re.split(r"[\r\n]", log.read_text(errors="replace"))]
    return next((line for line in reversed(lines) if line), "no output")


def warm(files: Iterable[Path]) -> None:
    """Read files once, so that the page cache has them."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(READ):
                pass


def claim(size: int) -> None:
    """Write and free this much memory, in a process of its own, so that the next one finds pages ready for use.

    On a virtual machine the first touch of a page that the host took back costs more than copying it; whoever runs
    right after somebody who freed memory would seem twice as fast.
    """
    lines = ["import mmap, sys", "m = mmap.mmap(-1, int(sys.argv[1]))", "while m.tell() < len(m): m.write(bytes(4096))"]
    subprocess.run([sys.executable, "-I", "-S", "-c", "\n".join(lines), str(-(-size // 4096) * 4096)], check=True)


def _clear(out: Path | None) -> None:
    if out is not None:
        shutil.rmtree(out, ignore_errors=True)
