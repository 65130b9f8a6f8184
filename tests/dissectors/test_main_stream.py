"""Constants and layouts of the main channel and the return path."""

from __future__ import annotations

import pytest

from dissectors import main_stream, return_path
from dissectors.main_stream import Command, command_length_fits, is_vfio
from dissectors.return_path import ReturnPathType, length_fits


def test_sizes_on_the_wire() -> None:
    sizes = {
        main_stream.FILE_HEADER: 8,
        main_stream.COMMAND: 5,
        main_stream.SECTION_ID: 5,
        main_stream.SECTION_VERSIONS: 8,
        main_stream.FOOTER: 5,
        main_stream.MAPPED_RAM_HEADER: 28,
        main_stream.POSTCOPY_ADVISE: 16,
        main_stream.DISCARD_RANGE: 16,
        return_path.HEADER: 4,
        return_path.REQ_PAGES: 12,
        return_path.VALUE: 4,
    }
    assert {layout.name: layout.size for layout in sizes} == {
        layout.name: size for layout, size in sizes.items()
    }
    assert main_stream.FILE_HEADER.pack({"magic": main_stream.MAGIC, "version": 3}) == (
        b"QEVM\0\0\0\3"
    )


@pytest.mark.parametrize(
    ("command", "length", "fits"),
    [
        (Command.PING, 4, True),
        (Command.PING, 0, False),
        (Command.POSTCOPY_ADVISE, 0, True),
        (Command.POSTCOPY_ADVISE, 16, True),
        (Command.POSTCOPY_ADVISE, 8, False),
        (Command.POSTCOPY_RAM_DISCARD, 25, True),
        (Command.POSTCOPY_RAM_DISCARD, 3, False),
        (Command.RECV_BITMAP, 7, True),
        (Command.RECV_BITMAP, 1, False),
        (Command.SWITCHOVER_START, 0, True),
        (0, 0, False),
        (12, 0, False),
    ],
)
def test_command_lengths(command: int, length: int, fits: bool) -> None:
    assert command_length_fits(command, length) is fits


def test_every_command_can_be_right() -> None:
    assert all(any(command_length_fits(c, n) for n in range(32)) for c in Command)


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        (ReturnPathType.SHUT, [4]),
        (ReturnPathType.PONG, [4]),
        (ReturnPathType.REQ_PAGES_ID, list(range(13, 269))),
        (ReturnPathType.REQ_PAGES, [12]),
        (ReturnPathType.RECV_BITMAP, list(range(1, 257))),
        (ReturnPathType.RESUME_ACK, [4]),
        (ReturnPathType.SWITCHOVER_ACK, [0]),
        (0, []),
        (8, []),
    ],
)
def test_return_path_lengths(kind: int, lengths: list[int]) -> None:
    assert [n for n in range(600) if length_fits(kind, n)] == lengths


def test_names_of_vfio_sections() -> None:
    assert is_vfio(b"0000:00:02.0/vfio")
    assert is_vfio(b"vfio")
    assert not is_vfio(b"vfio-ap")
    assert not is_vfio(b"ram")
