"""The program: ``mfshark``, or ``python -m analyzer``."""

from __future__ import annotations

import signal
import sys

__all__ = ["start"]


def start() -> int:
    """Load the command line, and run it.  Until it is loaded Ctrl-C ends the program as it ends
    those without a handler: without a traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from analyzer.cli import script

    return script()


if __name__ == "__main__":
    sys.exit(start())
