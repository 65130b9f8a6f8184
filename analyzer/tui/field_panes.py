"""The detail tree and the bytes pane, side by side or one above the other, linked both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Container
from textual.content import Content

from analyzer.report.escape import terminal
from analyzer.tui.copying import fields_text, hex_dump, tree_text
from analyzer.tui.hex_pane import HexPane
from analyzer.tui.packet_tree import find_node
from analyzer.tui.quantities import count
from analyzer.tui.tree_list import TreeList

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.migration.replay import Excerpt
    from dissectors.tree import Node

__all__ = ["FieldPanes"]


class FieldPanes(Container):
    """The fields and bytes of something decoded: the bytes of the field under the cursor are
    marked, and pointing at a byte selects its field.
    """

    SCOPED_CSS = False
    DEFAULT_CSS = """
    FieldPanes { layout: vertical; }
    .-wide FieldPanes { layout: horizontal; }
    """

    _wanted: object = None
    _shown: object = None
    _found: tuple[object, int, int] | None = None

    def compose(self) -> ComposeResult:
        """Both panes."""
        yield TreeList()
        yield HexPane()

    def on_mount(self) -> None:
        """Titles."""
        self._entitle("Fields", "Bytes")

    def _entitle(self, fields: str, bytes: str) -> None:  # noqa: A002 - the panes' names
        self.fields.border_title = Content(terminal(fields))
        self.bytes.border_title = bytes

    @property
    def fields(self) -> TreeList:
        """The detail tree."""
        return self.query_one(TreeList)

    @property
    def bytes(self) -> HexPane:
        """The bytes pane."""
        return self.query_one(HexPane)

    @property
    def behind(self) -> bool:
        """Whether the panes do not show yet what was selected."""
        return self._wanted is not None and self._wanted != self._shown

    def expect(self, what: object) -> None:
        """Note that ``what`` was selected and is being read."""
        self._wanted = what
        if self._found is not None and self._found[0] != what:
            self._found = None

    def show(
        self,
        what: object,
        nodes: list[Node],
        excerpt: Excerpt,
        title: str,
        note: str = "",
    ) -> None:
        """Show fields and bytes of ``what``; the field selected before is selected again."""
        if not self.children:
            return  # the application is ending
        self._shown = what
        tree, pane = self.fields, self.bytes
        missing = tuple((first, end - 1) for first, end in excerpt.holes)
        pane.show_bytes(excerpt.data, note, missing)
        tree.show_nodes(nodes)
        self._entitle(title, f"Bytes ({count(len(excerpt.data))})")
        if tree.has_focus or pane.has_focus:
            self._mark(tree.node)
        self._mark_found()

    def mark_bytes(self, what: object, offset: int, size: int) -> None:
        """Mark bytes of ``what``, now or once it is shown, until something else is selected."""
        self._found = what, offset, size
        self._mark_found()

    def _mark_found(self) -> None:
        if self._found is None or self._shown != self._wanted:
            return
        what, offset, size = self._found
        if what == self._shown and offset < len(self.bytes.data):
            path = find_node(self.fields.nodes, offset)
            if path:
                self.fields.reveal(path)
            self.bytes.mark_field(offset, size)

    def clear(self) -> None:
        """Show no fields and bytes."""
        self._wanted = self._shown = None
        self._entitle("Fields", "Bytes")
        self.fields.show_nodes([])
        self.bytes.show_bytes(b"")

    def copied(self, form: str) -> str | None:
        """The fields as ``text`` or ``json``, or the bytes as a ``hex`` dump; ``None`` if empty."""
        if form == "hex":
            return hex_dump(self.bytes.data) if self.bytes.data else None
        nodes = self.fields.nodes
        if not nodes:
            return None
        return tree_text(nodes) if form == "text" else fields_text(nodes)

    def _mark(self, node: Node | None) -> None:
        if node is not None:
            self.bytes.mark_field(node.offset, node.size)

    def on_tree_list_field(self, message: TreeList.Field) -> None:
        """Mark the bytes of the field under the cursor."""
        message.stop()
        self._found = None
        self._mark(message.node)

    def on_hex_pane_pointed(self, message: HexPane.Pointed) -> None:
        """Select the field of the byte that was pointed at."""
        message.stop()
        self._found = None
        path = find_node(self.fields.nodes, message.offset)
        if path:
            self.fields.reveal(path)
            self.bytes.field = (path[-1].offset, path[-1].size)
            self.bytes.refresh()
