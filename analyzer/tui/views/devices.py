"""Devices: what arrived for each device, index by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.worker import get_current_worker

from analyzer.errors import CaptureError, UsageError
from analyzer.report.escape import terminal
from analyzer.tui.device_facts import BufferRows, DeviceRows, device_facts
from analyzer.tui.dialogs.extract import MODES, ExtractDialog
from analyzer.tui.extraction import extract
from analyzer.tui.messages import Selected
from analyzer.tui.panes import ArrivalPane, MapPane
from analyzer.tui.reassembly import Reassembly
from analyzer.tui.row_list import NoRows, RowList
from analyzer.tui.typed_path import typed_path
from analyzer.tui.views.view import View
from dissectors.multifd import device_name

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.tui.device_facts import DeviceFacts
    from analyzer.tui.dialogs.ask import Answer
    from analyzer.tui.document import Document

__all__ = ["DevicesView"]

LIST_LINES = 8
NOTHING_HERE = Text("there is no device")
NO_DEVICE = "no device state: neither on multifd nor on main"


class DevicesView(View):
    """The devices, the reassembly map of the selected one, and its buffers."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "Sort", tooltip="Sort buffers by index or by arrival"),
        Binding("x", "extract", "Extract", tooltip="Write its state to files"),
        Binding("f", "filter", "Its packets", tooltip="Show only its packets"),
        Binding("p", "payload", "Payload", tooltip="Show the payload of the buffer"),
    ]
    DEFAULT_CSS = """
    DevicesView #device-list { height: auto; max-height: 9; }
    DevicesView #drawing { height: 2fr; min-height: 5; }
    DevicesView MapPane { width: 2fr; }
    DevicesView ArrivalPane { width: 1fr; margin-left: 1; }
    DevicesView #buffers { height: 3fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.facts: list[DeviceFacts] = []
        self._facts_of: tuple[Document, int] | None = None
        self._final = False  # the facts are of a completely read capture
        self.by_index = False

    def compose(self) -> ComposeResult:
        """The panes."""
        yield RowList(id="device-list", empty=NO_DEVICE)
        with Horizontal(id="drawing"):
            yield MapPane(id="map")
            yield ArrivalPane(id="arrival")
        yield RowList(id="buffers")

    def on_mount(self) -> None:
        """Set the titles."""
        self.query_one("#arrival").border_title = "Arrival ▸ index ▴"

    def home(self) -> None:
        """Focus the list of devices."""
        self.screen.set_focus(self.query_one("#device-list"))

    # -- what is shown ------------------------------------------------------------------------

    def show_document(self) -> None:
        """Compute the facts about the devices, in a thread: there may be 100,000 buffers; unless
        they are known and cannot have changed.
        """
        if self._final and self._facts_of == (self.document, self.state.migration):
            self.workers.cancel_group(self, "devices")
            self._show_facts(self.facts)
        else:
            self.run_worker(self._work_out, thread=True, exclusive=True, group="devices")

    @property
    def awaited(self) -> bool:
        """See the base class."""
        return self._facts_of != (self.document, self.state.migration)

    def show_growth(self) -> None:
        """Update the devices as long as there are few buffers."""
        devices = [d for m in self.document.migrations() for d in list(m.devices.values())]
        if sum(len(device.buffers) for device in devices) < 2000:
            self.show_document()

    def _work_out(self) -> None:
        document, number = self.document, self.state.migration
        complete = document.done
        facts = device_facts(document, number)

        def take() -> None:
            self._facts_of, self._final = (document, number), complete
            self._show_facts(facts)

        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(take)

    def _show_facts(self, facts: list[DeviceFacts]) -> None:
        self.facts = facts
        devices = self.query_one("#device-list", RowList)
        devices.styles.height = min(LIST_LINES, len(facts) + 1) if facts else 4
        several = len(self.document.migrations()) > 1
        lack = NO_DEVICE if self.document.done else "no device state yet"
        devices.empty = self.document.obstacle() or lack
        devices.show_rows(DeviceRows(facts, self.document.start, several))
        self.show_selection()

    @property
    def current(self) -> DeviceFacts | None:
        """The selected device; if none is, the first incomplete one, or else the first."""
        for facts in self.facts:
            if facts.key == self.state.device:
                return facts
        lost = [facts for facts in self.facts if facts.complete is False and self.document.done]
        return next(iter(lost or self.facts), None)

    @property
    def index(self) -> int:
        """The selected index, or if none is, the first one that did not come whole; -1: neither."""
        if self.state.index is not None:
            return self.state.index
        return self.current.reassembly.first_lost() if self.current is not None else -1

    def show_selection(self) -> None:
        """Show the selected device and index."""
        facts, buffers = self.current, self.query_one("#buffers", RowList)
        if facts is None:
            self.query_one(MapPane).show_map("", Reassembly([]), -1)
            self.query_one(ArrivalPane).show_order([])
            buffers.border_title, buffers.empty = "Buffers", ""
            buffers.show_rows(NoRows())
            return
        self.query_one("#device-list", RowList).go(self.facts.index(facts))
        index, rows = self.index, buffers.rows
        pane = self.query_one(MapPane)
        pane.show_map(facts.name, facts.reassembly, index, facts.lack)
        self.query_one(ArrivalPane).show_order(facts.order)
        if not isinstance(rows, BufferRows) or rows.facts is not facts:
            buffers.empty = facts.lack
            buffers.show_rows(self._buffer_rows(facts))
        self._reveal_buffer(index)

    def _buffer_rows(self, facts: DeviceFacts) -> BufferRows:
        document = self.document
        return BufferRows(facts, document.table, document.start, self.by_index)

    def _reveal_buffer(self, index: int) -> None:
        buffers = self.query_one("#buffers", RowList)
        rows = buffers.rows
        if isinstance(rows, BufferRows):
            parts = [f"Buffers by {'index' if self.by_index else 'arrival'}"]
            if index >= 0 and rows.position(index) is None:
                never = "never arrived" if self.document.done else "has not arrived yet"
                parts.append(f"index {index} {never}")
            elif rows.facts.cut:
                parts.append(f"{len(rows.facts.cut)} cut off")
            buffers.border_title = "; ".join(parts)
            position = rows.position(index)
            if position is not None and rows.index(buffers.cursor) != index:
                buffers.go(position, centre=True)

    def copied(self, form: str) -> str | None:
        """See the base class; in the map the buffer of the selected index is what is selected."""
        buffers = self.query_one("#buffers", RowList)
        rows, index = buffers.rows, self.index
        if not isinstance(self.app.focused, MapPane) or index < 0:
            return super().copied(form)
        there = isinstance(rows, BufferRows) and rows.position(index) is not None
        return buffers.copied(form) if there else None

    # -- what the user does -------------------------------------------------------------------

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Select another device or buffer."""
        message.stop()
        if message.sender.id == "device-list":
            self.post_message(Selected(device=self.facts[message.position].key))
        elif self.current is not None:
            self._select(message.position)

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter: go from a device to its map, from a buffer to its packet."""
        message.stop()
        if message.sender.id == "device-list":
            self.screen.set_focus(self.query_one(MapPane))
        else:
            self._select(message.position, screen="packets")

    def _select(self, position: int, screen: str | None = None) -> None:
        rows = self.query_one("#buffers", RowList).rows
        if isinstance(rows, BufferRows):
            row = self._row(rows, position)
            if row is not None:
                self.post_message(Selected(row=row, screen=screen))
            else:
                index = rows.index(position)
                self.post_message(Selected(device=rows.facts.key, index=index, screen=screen))

    def _row(self, rows: BufferRows, position: int) -> int | None:
        """The packet of a row: of several with one index, that very one."""
        facts, cut, buffer = rows.facts, rows.cut(position), rows.buffer(position)
        if cut is not None:
            return facts.cut_rows[cut]
        if facts.device is None or buffer is None:
            return None
        return self.document.row_of_buffer(facts.device, buffer, facts.key[0])

    def on_map_pane_pointed(self, message: MapPane.Pointed) -> None:
        """Select another index."""
        message.stop()
        facts = self.current
        if facts is None:
            return
        there = message.index in facts.reassembly.indexes
        screen = "packets" if message.opened and there else None
        self.post_message(Selected(device=facts.key, index=message.index, screen=screen))
        if message.opened and not there:
            self.mfshark.tell(Text(f"index {message.index} never arrived"))

    def action_sort(self) -> None:
        """Switch between buffers by index and by arrival."""
        if self.current is None:
            self.mfshark.tell(NOTHING_HERE)
            return
        self.by_index = not self.by_index
        self.query_one("#buffers", RowList).show_rows(self._buffer_rows(self.current))
        self.show_selection()

    def action_filter(self) -> None:
        """Show only the packets of the selected device."""
        if self.current is None:
            self.mfshark.tell(NOTHING_HERE)
            return
        number, idstr, instance = self.current.key
        self.mfshark.filter_device(number, device_name(idstr, instance))

    def action_payload(self) -> None:
        """Show the payload of the selected buffer."""
        facts, index = self.current, self.index
        if facts is None or index < 0:
            self.mfshark.tell(Text("select a buffer" if facts is not None else NOTHING_HERE.plain))
        elif index not in facts.reassembly.indexes:
            self.mfshark.tell(Text(f"index {index} never arrived"))
        else:
            if self.state.index is None:
                self.mfshark.on_selected(Selected(device=facts.key, index=index))
            super().action_payload()

    def action_extract(self) -> None:
        """Write the device's state to files."""
        if self.current is None:
            self.mfshark.tell(NOTHING_HERE)
        else:
            self.app.push_screen(ExtractDialog(self.current), self._extract)

    def _extract(self, answer: Answer | None) -> None:
        facts = self.current
        if answer is None or facts is None:
            return
        number, idstr, instance = facts.key
        document, app = self.document, self.mfshark
        name, folder = device_name(idstr, instance), typed_path(answer.text)

        def work() -> None:
            worker = get_current_worker()
            try:
                told = extract(
                    document,
                    name,
                    number,
                    folder,
                    buffers=answer.mode == MODES[1],
                    rest=lambda: worker.is_cancelled,
                )
            except OSError as error:
                told = f"not extracted: {error.filename} {error.strerror}"
            except (CaptureError, UsageError) as error:
                told = f"not extracted: {error}"
            if not worker.is_cancelled:
                app.call_from_thread(app.tell, Text(terminal(told)))

        app.tell(Text(f"extracting {facts.name} …"))
        self.run_worker(work, thread=True, exclusive=True, group="extract")
