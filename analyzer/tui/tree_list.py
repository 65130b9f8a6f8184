"""The detail tree: a list of fields whose groups can be opened and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from analyzer.report.escape import terminal
from analyzer.tui.columns import Column
from analyzer.tui.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette
    from dissectors.tree import Node

__all__ = ["TreeList", "TreeRows"]

MEASURED = 1000
"""The width of the columns is chosen by this many lines."""
NAME_MIN, VALUE_MIN, NUMBER_MIN = 12, 20, 4
WHOLE = len("00000000-0000-0000-0000-000000000000")
"""Values up to this wide, as a uuid, are shown whole before a meaning gets more than it must."""


class TreeRows:
    """A line per node; those of a group follow it if it is open.

    ``opened`` are the paths of the open groups, as names from the outermost group on.  Columns get
    no more room than they need.
    """

    def __init__(self, nodes: list[Node], opened: set[tuple[str, ...]]) -> None:
        self.nodes = nodes
        self.opened = opened
        self.lines: list[tuple[Node, tuple[str, ...]]] = []
        self._add(nodes, ())
        measured = self.lines[:MEASURED]
        name = max((2 * len(path) + len(node.name) for node, path in measured), default=0)
        values = [len(node.value) for node, _ in measured]
        value = max(values, default=0)
        whole = max((width for width in values if width <= WHOLE), default=0)
        name, value, whole = max(name, NAME_MIN), max(value, VALUE_MIN), max(whole, VALUE_MIN)
        offset = max((len(str(node.offset)) for node, _ in measured), default=0)
        size = max((len(str(node.size)) for node, _ in measured), default=0)
        self.columns: Sequence[Column] = (
            Column("Field", min(name, 26), grow=1, most=min(name, 40)),
            Column("Value", whole, grow=6, most=value),
            Column("Offset", max(offset, NUMBER_MIN), right=True, optional=2),
            Column("Size", max(size, NUMBER_MIN), right=True, optional=3),
            Column("Meaning", max(14, 22 + VALUE_MIN - whole), grow=4, optional=1),
        )

    def _add(self, nodes: list[Node], path: tuple[str, ...]) -> None:
        for node in nodes:
            own = (*path, node.name)
            self.lines.append((node, own))
            if node.children and own in self.opened:
                self._add(node.children, own)

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One field."""
        node, path = self.lines[position]
        sign = " " if not node.children else "▾" if path in self.opened else "▸"
        name = f"{'  ' * (len(path) - 1)}{sign} {terminal(node.name)}"
        group = bool(node.children)
        cells: list[Cell] = [
            (name, palette.header if group else palette.plain),
            (terminal(node.value), palette.muted if group else palette.info),
            (f"{node.offset}" if node.size else "", palette.axis),
            (f"{node.size}" if node.size else "", palette.axis),
            (terminal(node.meaning), palette.muted),
        ]
        return cells, palette.plain


class TreeList(RowList):
    """The detail pane; it posts :class:`Field` when the cursor is on another field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "fold(False)", "Close the branch", show=False),
        Binding("right,l", "fold(True)", "Open the branch", show=False),
        Binding("space", "fold_group", "Open or close the branch", show=False),
        Binding("E", "all(True)", "Open all branches", show=False),
        Binding("C", "all(False)", "Close all branches", show=False),
        Binding("a", "as_filter", "Filter by field", tooltip="Filter by the field"),
    ]

    class Field(Message):
        """The cursor is on field ``node``."""

        def __init__(self, node: Node) -> None:
            super().__init__()
            self.node = node

    class AsFilter(Field):
        """The user wants to filter by the value of this field."""

    def __init__(self) -> None:
        super().__init__(header=False)
        self.nodes: list[Node] = []
        self.opened: set[tuple[str, ...]] = set()

    def show_nodes(self, nodes: list[Node]) -> None:
        """Show other fields; open groups stay open, and the cursor keeps its position.

        The first group is opened if none is.
        """
        self.nodes = nodes
        if not any(path[:1] == (node.name,) for node in nodes for path in self.opened):
            self.opened |= {(node.name,) for node in nodes[:1]}
        self._show_lines()

    def _show_lines(self) -> TreeRows:
        """Show the fields with the groups that are open now."""
        rows = TreeRows(self.nodes, self.opened)
        self.show_rows(rows)
        return rows

    @property
    def _line(self) -> tuple[Node | None, tuple[str, ...]]:
        """The field under the cursor, if there is one, and its path."""
        rows = self.rows
        if isinstance(rows, TreeRows) and self.cursor < len(rows.lines):
            return rows.lines[self.cursor]
        return None, ()

    @property
    def node(self) -> Node | None:
        """The field under the cursor."""
        return self._line[0]

    def reveal(self, path: list[Node]) -> None:
        """Open the groups around a field and put the cursor on it; ``path`` ends with the field."""
        names = tuple(node.name for node in path)
        self.opened |= {names[:depth] for depth in range(1, len(names))}
        rows = self._show_lines()
        for position, (node, _) in enumerate(rows.lines):
            if path and node is path[-1]:
                self.go(position, centre=True)

    def action_fold(self, opening: bool) -> None:
        """Open the group under the cursor, or close it (or the group around it).

        If there is nothing to open, the cursor moves down.
        """
        node, path = self._line
        group = node is not None and bool(node.children)
        if opening:
            if group and path not in self.opened:
                self.opened.add(path)
                self._show_lines()
            else:
                self.action_move(1)
            return
        if path not in self.opened or not group:
            path = path[:-1]
        if path:
            self.opened.discard(path)
            lines = self._show_lines().lines
            self._moved(next(at for at, (_, own) in enumerate(lines) if own == path))

    def action_fold_group(self) -> None:
        """Open or close the group under the cursor."""
        node, path = self._line
        if node is not None and node.children:
            self.opened ^= {path}
            self._show_lines()

    def action_choose(self) -> None:
        """Open or close the group under the cursor, or show the whole field."""
        if self.node is not None and self.node.children:
            self.action_fold_group()
        else:
            self.action_whole()

    def action_all(self, opening: bool) -> None:
        """Open or close all groups."""
        self.opened = set(_paths(self.nodes, ())) if opening else set()
        self._show_lines()

    def action_as_filter(self) -> None:
        """Filter by the field under the cursor."""
        if self.node is not None and not self.node.children:
            self.post_message(self.AsFilter(self.node))

    def _moved(self, position: int) -> None:
        super()._moved(position)
        if self.node is not None:
            self.post_message(self.Field(self.node))

    def on_focus(self) -> None:
        """Post the current field, so that its bytes are marked."""
        super().on_focus()
        if self.node is not None:
            self.post_message(self.Field(self.node))


def _paths(nodes: list[Node], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = []
    for node in nodes:
        if node.children:
            own = (*path, node.name)
            found += [own, *_paths(node.children, own)]
    return found
