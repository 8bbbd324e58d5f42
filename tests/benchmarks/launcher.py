"""Runs one command and prints its cost as JSON; `python launcher.py LOG COMMAND...`.

A process of its own, and a small one, because Linux starts a child's peak memory at what its parent had when it
started it: launched from a test runner with torch loaded, `true` seems to need hundreds of megabytes.
"""

import json
import os
import sys
import time


def main() -> None:
    log, command = sys.argv[1], sys.argv[2:]
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)  # of the child and of all children that it waited for
    wall = time.perf_counter() - start
    cost = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss * 1024 / 1e6}
    print(json.dumps({**cost, "code": os.waitstatus_to_exitcode(status)}))


main()
