"""A process that does jobs: `python -m hf_soups.training.worker`, started by `processes`.

stdin: pickled jobs, from our own parent, until it is closed. stdout: one JSON object a line: steps, the end, or an
error.
"""

from __future__ import annotations

import json
import os
import pickle
import sys

from hf_soups.errors import SoupError


def main() -> int:
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is not a message to the parent

    def say(**what: object) -> None:
        lines.write(json.dumps(what) + "\n")

    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
            job.do(lambda _, done, total: say(done=done, total=total))
            say(finished=job.name)
        except EOFError:
            return 0
        except SoupError as error:
            say(error=type(error).__name__, message=str(error))
        except (KeyboardInterrupt, BrokenPipeError):
            return 1  # the parent was interrupted, or is gone


if __name__ == "__main__":
    sys.exit(main())
