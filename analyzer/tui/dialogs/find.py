"""Asks for text or bytes to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.tui.dialogs.ask import AskDialog
from analyzer.tui.search import HEX, MODES, pattern_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.tui.dialogs.ask import Answer

__all__ = ["FindDialog"]


class FindDialog(AskDialog):
    """Returns the text and the mode; ``hint`` says what is searched, ``last`` is the last search
    (``None``: there was none), whose text is looked for in bytes where ``modes`` lack its mode.
    """

    def __init__(self, hint: str, last: Answer | None, modes: Sequence[str] = MODES) -> None:
        text, mode = (last.text, last.mode) if last is not None else ("", modes[0])
        super().__init__(
            "Find",
            hint,
            value=text,
            mode=modes[-1] if text and mode not in modes else mode,
            modes=modes,
            check=_complaint,
        )


def _complaint(mode: str, text: str) -> str:
    if mode == HEX and pattern_of(mode, text) is None:
        return "expected pairs of hexadecimal digits"
    return ""
