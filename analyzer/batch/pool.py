"""Many jobs in a pool of processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from analyzer.batch.job import run_job
from analyzer.report.escape import terminal
from analyzer.report.result import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.batch.job import Job

__all__ = ["run_jobs"]


def run_jobs(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """The results in the order of the jobs, as they come.

    A process that dies (out of memory, killed) costs the capture that it read, and no other one.
    """
    rest = list(jobs)
    while rest:
        done = 0
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            for future in [pool.submit(run_job, job) for job in rest]:
                yield future.result()
                done += 1
        except BrokenProcessPool:
            # Whoever read that capture, or another one beside it: alone it shows.
            yield _alone(rest[done])
            done += 1
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        rest = rest[done:]


def _alone(job: Job) -> Result:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(run_job, job).result()
        except BrokenProcessPool:
            reason = "the process that read it died: killed, or out of memory"
            return Result.broken(job.path, f"{terminal(job.path)}: {reason}")
