"""Many jobs in a pool of processes."""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from multiprocessing import get_context
from multiprocessing.connection import wait
from time import monotonic

from analyzer.batch.job import run_job
from analyzer.report.escape import terminal
from analyzer.report.result import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from analyzer.batch.job import Job, Progress

__all__ = ["run_jobs"]

IDLE = -1
TELL_SECONDS = 0.3
WAIT_SECONDS = 0.5
"""The maximum length of one wait, since a Ctrl-C just before it does not interrupt it."""
STOP_SECONDS = 2.0
"""How long a process may take to clean up its current job."""


def run_jobs(
    jobs: Sequence[Job], workers: int, progress: Progress | None = None
) -> Iterator[Result]:
    """The results in the order of the jobs, as they come.

    If a process dies (out of memory, killed), only the capture that it was reading fails.
    ``progress`` is called with the fraction of the jobs that is done, and the frames read.
    """
    pool = _Pool(jobs, progress)
    try:
        yield from pool.results(min(workers, len(jobs)))
    finally:
        pool.stop()


class _Pool:
    def __init__(self, jobs: Sequence[Job], progress: Progress | None) -> None:
        self._jobs = jobs
        self._waiting = deque(range(len(jobs)))
        self._workers: list[_Worker] = []
        self._done: dict[int, Result] = {}
        self._reached: dict[int, tuple[float, int]] = {}  # of the jobs that are being read
        self._ended = 0  # jobs, and their frames
        self._frames = 0
        self._progress = progress

    def results(self, workers: int) -> Iterator[Result]:
        """One result for every job, in order."""
        for _ in range(workers):
            self._start()
        for number in range(len(self._jobs)):
            while number not in self._done:
                self._step()
            yield self._done.pop(number)

    def stop(self) -> None:
        """End all processes, including busy ones."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(STOP_SECONDS)
            worker.process.kill()

    def _start(self) -> None:
        if self._waiting:
            worker = _Worker()
            self._workers.append(worker)
            self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Give a worker the next job, if there is one."""
        worker.number = self._waiting.popleft() if self._waiting else IDLE
        if worker.number == IDLE:
            return
        with contextlib.suppress(OSError):  # It died; the next read from it reports that.
            worker.connection.send(self._jobs[worker.number])

    def _step(self) -> None:
        """Wait a short time for messages from any process."""
        news = wait([worker.connection for worker in self._workers], WAIT_SECONDS)
        for worker in [worker for worker in self._workers if worker.connection in news]:
            try:
                told = worker.connection.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            if isinstance(told, Result):
                self._finished(worker.number, told)
                self._give(worker)
            else:
                self._reached[worker.number] = told
                self._tell()

    def _lost(self, worker: _Worker) -> None:
        """A process died, and its current job fails."""
        self._workers.remove(worker)
        if worker.number != IDLE:
            path = self._jobs[worker.number].path
            reason = "the process that read it died: killed, or out of memory"
            self._finished(worker.number, Result.broken(path, f"{terminal(path)}: {reason}"))
        self._start()

    def _finished(self, number: int, result: Result) -> None:
        self._done[number] = result
        self._ended += 1
        self._frames += self._reached.pop(number, (0.0, 0))[1]
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            done = self._ended + sum(fraction for fraction, _ in self._reached.values())
            frames = self._frames + sum(frames for _, frames in self._reached.values())
            self._progress(done / len(self._jobs), frames)


class _Worker:
    """A process, the pipe to it, and the number of its job."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, far = context.Pipe()
        self.process = context.Process(target=_work, args=(far,), daemon=True)
        # Ctrl-C reaches all processes of a terminal; only the main process must act on it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        far.close()
        self.number = IDLE


def _work(connection: Connection) -> None:
    """The main loop of a worker process: jobs in, results out, until it is ended."""
    # Handlers, since ignored or blocked signals would be inherited by tshark.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _ended)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # The main process gets it too.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with contextlib.suppress(EOFError, OSError):  # The main process is gone.
        while True:
            teller = _Teller(connection)
            result = run_job(connection.recv(), teller)
            connection.send(teller.last)
            connection.send(result)


def _ended(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


class _Teller:
    """Reports the progress of a job from time to time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._told = monotonic()
        self.last = (0.0, 0)

    def __call__(self, fraction: float, frames: int) -> None:
        self.last = (fraction, frames)
        now = monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._connection.send(self.last)
