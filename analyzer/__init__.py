"""mfshark: Wireshark for QEMU's multifd device-state migration.

``analyzer.open(path)`` analyses a capture and gives an :class:`analyzer.analysis.Analysis`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from analyzer.analysis import Analysis

__all__ = ["open"]


def open(  # noqa: A001
    path: str | os.PathLike[str] | bytes, *, digest: bool = False, keylog: str | None = None
) -> Analysis:
    """Analyse a capture: a path, ``-`` for standard input, or its bytes.

    ``digest`` also puts every device's state together and takes its sha256; ``keylog`` is a file
    with the secrets of TLS connections.  Raises
    :class:`analyzer.errors.CaptureError` for what is no capture.
    :func:`analyzer.analysis.analyze` takes more options.
    """
    from analyzer.analysis import analyze
    from analyzer.migration.framing import Settings

    return analyze(path, Settings(keylog=keylog), digest=digest)
