"""Structure inside contents: config states, headers of subsections.  It is kept so that the result
decodes in the same way; the values in it are replaced.
"""

from __future__ import annotations

from dissectors.main_stream import SUBSECTION_BYTE
from dissectors.vfio import VfioTag
from dissectors.vfio_config import CAPABILITIES_AT, CONFIG_SPACE, MSIX_CAPABILITY, parse_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dissectors.tree import Node

    Span = tuple[int, int]

__all__ = ["config_spans", "subsection_spans"]

END_OF_STATE = int(VfioTag.END_OF_STATE).to_bytes(8, "big")
CAPABILITY_HEAD = 2
MSIX_HEAD = 4


def config_spans(data: bytes) -> Iterator[Span]:
    """The parts of a VFIO device's config state that are kept: tags, version, device id, capability
    list.
    """
    state = parse_config(data)
    begin = state.space_at
    yield 0, min(begin, len(data))
    if state.space_size:
        yield begin, begin + CONFIG_SPACE["command"].offset
        status = begin + CONFIG_SPACE["status"].offset
        yield status, status + 1
        class_at = CONFIG_SPACE["prog_if"].offset
        yield begin + class_at, begin + CONFIG_SPACE["cache_line_size"].offset
        yield begin + CAPABILITIES_AT, begin + CAPABILITIES_AT + 1
        for kind, at in sorted(state.capabilities, key=lambda found: found[1]):
            size = MSIX_HEAD if kind == MSIX_CAPABILITY else CAPABILITY_HEAD
            yield begin + at, begin + at + size
        rest = state.rest_at
        if data[rest : rest + 1] == bytes((SUBSECTION_BYTE,)):
            yield rest, min(rest + 2 + data[rest + 1 : rest + 2][0] + 4, len(data))
    if data.endswith(END_OF_STATE):
        yield len(data) - len(END_OF_STATE), len(data)


def subsection_spans(nodes: Iterable[Node]) -> Iterator[Span]:
    """The headers of subsections among a section's decoded fields."""
    for node in nodes:
        if node.meaning == "subsection":
            yield node.offset, node.offset + 2 + len(node.name.encode()) + 4
        yield from subsection_spans(node.children)
