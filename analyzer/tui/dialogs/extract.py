"""Asks for the directory to extract a device's state to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.escape import file_name
from analyzer.tui.dialogs.ask import AskDialog
from analyzer.tui.typed_path import is_directory, is_there, typed_path

if TYPE_CHECKING:
    from analyzer.tui.device_facts import DeviceFacts

__all__ = ["MODES", "ExtractDialog"]

MODES = ("state", "state and every buffer")


class ExtractDialog(AskDialog):
    """Returns the directory (as text) and the mode."""

    def __init__(self, facts: DeviceFacts) -> None:
        super().__init__(
            f"Extract {facts.name}",
            "The directory for the reassembled state, the config state and a manifest with "
            "digests. Existing files are not overwritten.",
            value=file_name(facts.name),
            modes=MODES,
            check=_complaint,
        )


def _complaint(_mode: str, text: str) -> str:
    path = typed_path(text)
    return "this is a file" if is_there(path) and not is_directory(path) else ""
