"""Selecting: whatever is selected, on whichever screen, all of them show it."""

from __future__ import annotations

from rich.text import Text

from analyzer.migration.rows import DEVICE_STATE
from analyzer.tui.messages import Selected
from analyzer.tui.part import Part
from analyzer.tui.state import ALL

__all__ = ["Selecting"]


class Selecting(Part):
    """What becomes of a selection."""

    def on_selected(self, message: Selected) -> None:
        """Something was selected: find its row, device and time, and show the selection."""
        message.stop()
        app = self._app
        state, document = app.state, app.document
        if message.row is not None:
            self.select_row(message.row)
        elif message.device is not None:
            self._select_device(message.device, message.index)
        elif message.moment is not None:
            row = document.row_at_time(message.moment, message.stream)
            if row is None:  # a stream without packets, such as main's
                row = document.row_at_time(message.moment)
            if row is not None:
                self.select_row(row)
            state.time = message.moment
            if message.stream is not None:
                state.stream = message.stream
        wanted = state.row
        if message.screen is not None and message.screen != state.screen:
            app.show_screen(message.screen, deeper=True)
        else:
            app.view.show_selection()
        if state.row != wanted:
            app.tell(Text(self._hidden(wanted)))
        app.show_status()

    def _hidden(self, row: int) -> str:
        """Why a packet is not shown, and the key that shows it."""
        state, table = self._app.state, self._app.document.table
        number = table.column("migration")[row] if row < len(table) else state.migration
        if state.migration not in (ALL, number):
            return f"packet {row + 1} belongs to migration {number}; M chooses which is shown"
        return f"packet {row + 1} is hidden by the filter; X shows all"

    def select_row(self, row: int) -> None:
        """Select a packet with its stream, time, device and index; does not redraw."""
        state, table = self._app.state, self._app.document.table
        state.row = row
        if row >= len(table):
            return
        state.stream = table.column("stream")[row]
        state.time = table.column("time")[row]
        if table.column("kind")[row] == DEVICE_STATE:
            number, instance = table.column("migration")[row], table.column("instance_id")[row]
            idx = table.column("idx")[row]
            state.device = number, table.name(row), instance
            state.index = idx if idx >= 0 else None

    def _select_device(self, device: tuple[int, bytes, int], index: int | None) -> None:
        state, document = self._app.state, self._app.document
        state.device, state.index = device, index
        if index is None:
            return
        for migration in document.migrations(device[0]):
            found = migration.devices.get(device[1:])
            buffers = found.buffers if found is not None else ()
            buffer = next((buffer for buffer in buffers if buffer.idx == index), None)
            row = None
            if found is not None and buffer is not None:
                row = document.row_of_buffer(found, buffer, device[0])
            elif found is not None and any(cut.idx == index for cut in found.cut):
                row = document.row_of_cut(device, index)
            if row is not None:
                self.select_row(row)

    def select_within(self, number: int) -> None:
        """If something of another migration is selected, select a packet of this one instead."""
        state, document = self._app.state, self._app.document
        if state.device is not None and state.device[0] != number:
            state.device = state.index = None
        table = document.table
        if state.row < len(table) and table.column("migration")[state.row] != number:
            row = document.find_row(state.row, migration=number)
            if row is None:
                row = document.find_row(migration=number)
            if row is not None:
                self.select_row(row)
