"""Many jobs on a Dask cluster."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import CancelledError

from analyzer.batch.job import run_job
from analyzer.errors import UsageError
from analyzer.report.escape import terminal
from analyzer.report.result import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from distributed import Client, Future

    from analyzer.batch.job import Job

__all__ = ["run_on_cluster"]

CONNECT_SECONDS = 10
WORKER_SECONDS = 30


def run_on_cluster(jobs: Sequence[Job], address: str) -> Iterator[Result]:
    """The results in the order of the jobs, as they come.

    ``address`` is the scheduler's.  Workers read the files themselves, under the same paths.  If a
    worker dies, only the capture that it was reading fails, after Dask has retried it on other
    workers.  Raises :class:`UsageError` if there is no cluster.
    """
    client = _connected(address)
    try:
        futures = deque(_submitted(client, job) for job in jobs)
        for job in jobs:
            future = futures.popleft()
            if future.exception() is not None:
                # Dask may blame a worker's death on jobs that were merely queued on it.
                future = _submitted(client, job)
            try:
                yield future.result()
            except (Exception, CancelledError) as error:
                reason = f"{job.path}: the cluster could not check it: {error}"
                yield Result.broken(job.path, terminal(reason))
    finally:
        client.close()


def _submitted(client: Client, job: Job) -> Future[Result]:
    # Not pure: in another run the same path may be another file.
    return client.submit(run_job, job, pure=False)


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "--dask needs Dask's scheduler: pip install 'mfshark[dask]', here and on its workers"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from None
    try:
        client.wait_for_workers(1, WORKER_SECONDS)
    except TimeoutError:
        client.close()
        raise UsageError(f"the Dask scheduler at {address} has no workers") from None
    return client
