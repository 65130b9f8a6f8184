"""Runs one command and says how long it took and how much memory it had at its peak.

    python -I -S measure.py COMMAND [ARGUMENT...]

prints seconds, peak resident KiB and exit status of the command, whose standard output and error
are thrown away.  A process of its own, with next to nothing imported: Linux counts the memory of
the process that starts a program towards that program's peak, so whoever measures must be small.
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
