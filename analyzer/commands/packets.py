"""``mfshark packets``: one line per multifd packet."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["packets"]
