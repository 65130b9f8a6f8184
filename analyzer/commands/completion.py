"""``mfshark completion``: shell completion, made by argcomplete."""

from __future__ import annotations

from analyzer.commands.common import CLEAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["completion"]


def completion(options: Namespace) -> int:
    """Print the code to be evaluated by the shell."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["mfshark"], shell=options.shell))
    return CLEAN
