"""Base of the classes that the application is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from analyzer.tui.app import MfsharkApp

__all__ = ["Part"]


class Part:
    """A mixin of the application."""

    @property
    def _app(self) -> MfsharkApp:
        return cast("MfsharkApp", self)
