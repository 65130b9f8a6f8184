"""Taking things out: to the clipboard, as files, as a drawing."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from analyzer.errors import CaptureError
from analyzer.report.escape import terminal
from analyzer.tui import exporting
from analyzer.tui.dialogs.ask import Answer, AskDialog
from analyzer.tui.dialogs.choose import Choice, ChooseDialog
from analyzer.tui.dialogs.payload import PayloadScreen
from analyzer.tui.packet_rows import PacketRows
from analyzer.tui.part import Part
from analyzer.tui.quantities import count
from analyzer.tui.typed_path import is_directory, is_there, typed_path

__all__ = ["TakingOut"]

COPY_WAIT = 0.02
"""Seconds between attempts to copy something that is still being read."""
FORMS = {"text": "text", "json": "JSON", "hex": "hex dump"}


class TakingOut(Part):
    """The actions that copy and export.

    ``copying`` is whether a copy waits for what is still being read.
    """

    copying = False

    def action_copy(self) -> None:
        """Copy what is selected."""
        choices = [Choice(form, f"as {name}", form[0]) for form, name in FORMS.items()]
        window = self._app.screen
        payload = window if isinstance(window, PayloadScreen) else None
        dialog = ChooseDialog("Copy", choices)
        self._app.push_screen(dialog, lambda form: self._copy(form, payload))

    def _copy(self, form: str | None, payload: PayloadScreen | None) -> None:
        if form is None:
            return
        shown = self._app.view if payload is None else payload
        self.copying = shown.behind
        if self.copying:
            self._app.set_timer(COPY_WAIT, lambda: self._copy(form, payload))
            return
        text = shown.copied(form) if shown.is_attached else None
        if text is None:
            self._app.tell(Text(f"nothing to copy as {FORMS[form]} here"))
        else:
            self._app.copy_to_clipboard(text)
            self._app.tell(Text(f"copied {count(len(text), 'character')} as {FORMS[form]}"))

    def action_save_svg(self) -> None:
        """Save the screen as SVG."""
        app = self._app
        dialog = AskDialog(
            "Save the screen as SVG",
            "The file must not exist yet.",
            value=f"mfshark-{app.state.screen}.svg",
            check=_new_file,
        )
        app.push_screen(dialog, self._save_svg)

    def _save_svg(self, answer: Answer | None) -> None:
        if answer is None:
            return
        app = self._app

        def save() -> None:
            path = typed_path(answer.text)
            try:
                with path.open("x", encoding="utf-8") as stream:
                    stream.write(app.export_screenshot(title="mfshark"))
            except OSError as error:
                app.tell(Text(f"not saved: {error.strerror}"))
            else:
                app.tell(Text(f"saved {terminal(str(path))}"))

        app.call_after_refresh(save)

    def action_export(self) -> None:
        """Export the packets that are shown."""
        app = self._app
        document, matching = app.document, app.filters.matching
        if not len(document.table if matching is None else matching):
            why = document.lack() or "no packet matches the filter"
            app.tell(Text(f"nothing to export: {why}"))
            return
        stem = terminal(Path(document.path).name.split(".pcap")[0]) or "packets"
        dialog = AskDialog(
            "Export the packets that are shown",
            "csv and jsonl: one line per packet; pcapng: a capture of just their frames. "
            "The file must not exist yet.",
            modes=exporting.FORMATS,
            check=_new_file,
            suggest=lambda mode: f"{stem}-packets.{mode}",
            mode_of=exporting.format_of,
        )
        app.push_screen(dialog, self._export)

    def _export(self, answer: Answer | None) -> None:
        if answer is not None:
            self._app.run_worker(lambda: self._export_in_thread(answer), thread=True)

    def _export_in_thread(self, answer: Answer) -> None:
        app = self._app
        document = app.document
        rows = PacketRows(document, app.state, app.filters.matching)
        path = typed_path(answer.text)
        try:
            shown = (rows.number(position) for position in range(len(rows)))
            number = exporting.export(document, shown, path, answer.mode)
        except (OSError, CaptureError) as error:
            text = f"not exported: {error.strerror if isinstance(error, OSError) else error}"
        else:
            what = "frames" if answer.mode == "pcapng" else "packets"
            text = f"wrote {count(number)} {what} to {path}"
        app.call_from_thread(app.tell, Text(terminal(text)))


def _new_file(_mode: str, text: str) -> str:
    path = typed_path(text)
    if is_there(path):
        return "this exists already"
    return "" if is_directory(path.parent) else "there is no such directory"
