"""How help is laid out."""

from __future__ import annotations

import argparse

__all__ = ["HelpFormatter", "RawHelpFormatter"]


class HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal; asks how wide that is only where there is something to write, for
    parsers format every option when it is declared, and what asks takes long to import.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)

    def format_help(self) -> str:
        """See the base class."""
        from shutil import get_terminal_size

        self._width = get_terminal_size().columns - 2
        return super().format_help()


class RawHelpFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of descriptions as they are."""
