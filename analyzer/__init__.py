"""mfshark: Wireshark for QEMU's multifd device-state migration.

``analyzer.open(path)`` analyses a capture and returns an :class:`analyzer.analysis.Analysis`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from analyzer.analysis import Analysis

__all__ = ["open"]


def open(  # noqa: A001
    path: str | os.PathLike[str] | bytes,
    *,
    digest: bool = False,
    packets: bool = False,
    deep: bool = False,
    dialect: str = "auto",
    keylog: str | None = None,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    trace: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    require: str | None = None,
) -> Analysis:
    """Analyse a capture: a path, ``-`` for standard input, or its bytes.

    ``digest`` also reassembles every device's state and computes its sha256; ``packets`` keeps a
    table of all packets; ``deep`` decompresses and verifies the payload of RAM packets.
    ``dialect`` forces the revision of the wire format, ``keylog`` is a file with the secrets of TLS
    connections; ``select`` and ``ignore`` name rules by id, prefix of an id or slug.  ``trace`` are
    trace logs of either side's QEMU, to be compared with the capture.  With ``require="completed"``
    a migration that did not complete is an error (MF963).

    Raises :class:`analyzer.errors.CaptureError` for a file that is not a capture, and
    :class:`analyzer.errors.UsageError` for a dialect or rule that does not exist and for a trace
    log without traces.  :func:`analyzer.analysis.analyze` takes more options.
    """
    from analyzer.analysis import analyze, chosen

    settings, selection = chosen(
        dialect=dialect, keylog=keylog, select=select, ignore=ignore, deep=deep, trace=trace,
        require=require,
    )  # fmt: skip
    return analyze(path, settings, selection, digest=digest, packets=packets)
