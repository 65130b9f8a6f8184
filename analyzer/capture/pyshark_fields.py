"""Prints fields of frames as ``tshark -T fields`` does, but through pyshark: a separate program.

pyshark 0.6 wants the main thread and an event loop of its own, and relies on asyncio behaviour that
Python 3.14 removed; so it runs in a process of its own.  The lines are those that tshark itself
prints: :mod:`analyzer.capture.tshark` does not care which of the two it runs.

    python pyshark_fields.py [--tshark PATH] -r FILE [-Y FILTER] [-d RULE] [-o PREF] -e FIELD...
    python pyshark_fields.py --probe
"""

from __future__ import annotations

import argparse
import asyncio
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["main"]

BYTES = frozenset(("tcp.payload", "data.data"))
"""Byte fields: PDML abbreviates what it shows of some; their raw value is complete."""
FAILED, UNUSABLE = 1, 3


def main() -> int:
    """Entry point; gives the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--tshark")
    parser.add_argument("-r", dest="file")
    parser.add_argument("-e", dest="fields", action="append", default=[])
    for flag in ("-Y", "-d", "-o"):
        parser.add_argument(flag, action="append", default=[])
    options = parser.parse_args()
    try:
        from pyshark.capture.file_capture import FileCapture
        from pyshark.capture.pipe_capture import PipeCapture

        # Otherwise pyshark looks for a loop in ways that fail on Python 3.14.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        if options.probe:
            PipeCapture(sys.stdin, eventloop=loop)
            return 0
    except Exception as error:  # an incompatible library may raise anything
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return UNUSABLE
    arguments = [
        word for flag in ("Y", "d", "o") for value in getattr(options, flag)
        for word in (f"-{flag}", value)
    ]  # fmt: skip
    shared = {"eventloop": loop, "tshark_path": options.tshark, "custom_parameters": arguments}
    if options.file == "-":
        return _print(_patient(PipeCapture)(sys.stdin, **shared), options.fields)
    capture = _patient(FileCapture)(options.file, keep_packets=False, **shared)
    return _print(capture, options.fields)


def _patient(kind: type[Any]) -> type[Any]:
    """A subclass of the pyshark capture ``kind`` that lets tshark exit by itself.

    pyshark would kill tshark right after the last packet, before it could report a truncated or
    invalid file.
    """

    class Patient(kind):  # type: ignore[misc]
        status = 0

        async def _cleanup_subprocess(self, process: Any) -> None:
            if not self._eof_reached:
                await super()._cleanup_subprocess(process)
                return
            self.status = await process.wait()
            await asyncio.gather(*self._stderr_handling_tasks)

    return Patient


def _print(capture: Any, fields: list[str]) -> int:
    out = sys.stdout
    try:
        for packet in capture:
            out.write("\t".join(",".join(_values(packet, name)) for name in fields) + "\n")
            out.flush()
    except BrokenPipeError:
        return FAILED
    except Exception as error:  # pyshark raises its own kinds, and whatever lxml raises
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    if capture.status:
        print(capture._last_error_line or f"exit status {capture.status}", file=sys.stderr)
        return FAILED
    return 0


def _values(packet: Any, name: str) -> Iterator[str]:
    """Every occurrence of a field, from the outermost layer in."""
    for layer in (packet.frame_info, *packet.layers):
        container = layer._all_fields.get(name)
        for field in container.all_fields if container is not None else ():
            yield (field.raw_value if name in BYTES else field.show) or ""


if __name__ == "__main__":
    sys.exit(main())
