"""Runs one command and measures its time and peak memory.

    python -I -S measure.py COMMAND [ARGUMENT...]

prints seconds, peak resident KiB and exit status of the command, whose standard output and error
are discarded.  It is a separate process with as few imports as possible: Linux counts the memory of
the process that starts a program towards that program's peak, so the measuring process must be
small.
"""

from __future__ import annotations

import os
import sys
import time

NOWHERE = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]


def main(command: list[str]) -> None:
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=NOWHERE)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    print(seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1:])
