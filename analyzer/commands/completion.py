"""``mfshark completion``: shell completion, made by argcomplete."""

from __future__ import annotations

from analyzer.commands.common import CLEAN
from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(options: Namespace) -> int:
    """Print the code to be evaluated by the shell.  Raises :class:`UsageError` without argcomplete,
    whose licence keeps it an optional extra.
    """
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise UsageError(
            "completion needs argcomplete: pip install 'mfshark[completion]'"
        ) from None

    print(shellcode(["mfshark"], shell=options.shell))
    return CLEAN
