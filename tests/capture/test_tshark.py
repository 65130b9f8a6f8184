"""Whose addresses a frame's TCP segment has, from the layers and values that tshark prints."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from analyzer.capture.tshark import addresses_of

A, B, C, D = "10.0.0.1", "10.0.0.2", "10.77.0.1", "10.77.0.2"
X, Y = "fe80::1", "fe80::2"


def addresses(layers: str, *values: str) -> tuple[str, str] | None:
    sources = (",".join(value.split()).encode() for value in values)
    found = addresses_of(layers.encode().split(b":"), tuple(sources))  # type: ignore[arg-type]
    return found and (str(ip_address(found[0])), str(ip_address(found[1])))


@pytest.mark.parametrize(
    ("layers", "values", "expected"),
    [
        ("eth:ethertype:ip:tcp:data", (A, B, "", ""), (A, B)),
        ("eth:ethertype:ipv6:tcp", ("", "", X, Y), (X, Y)),
        ("eth:ethertype:ipv6:ipv6.hopopts:tcp", ("", "", X, Y), (X, Y)),
        ("eth:ip:udp:vxlan:eth:ip:tcp", (f"{A} {C}", f"{B} {D}", "", ""), (C, D)),
        ("eth:ethertype:ip:gre:ipv6:tcp", (A, B, X, Y), (X, Y)),
        ("eth:ethertype:ipv6:ip:tcp", (A, B, X, Y), (A, B)),
        # Behind the first TCP header is what its payload looks like.
        ("eth:ethertype:ip:tcp:gre:ip", (f"{A} {C}", f"{B} {D}", "", ""), (A, B)),
        # What Wireshark since 4.4 guesses behind MPLS is not among its layers.
        ("eth:ethertype:mpls:tcp", (A, B, "", ""), (A, B)),
        ("eth:ethertype:mpls:tcp:data", ("", "", X, Y), (X, Y)),
        ("eth:ethertype:ip:udp:mpls:tcp", (f"{A} {C}", f"{B} {D}", "", ""), (C, D)),
        ("eth:ethertype:ip:udp:mpls:tcp", (A, B, X, Y), (X, Y)),
        ("eth:ethertype:mpls:gre:ip:tcp", (f"{A} {C}", f"{B} {D}", "", ""), (C, D)),
        ("eth:ethertype:mpls:tcp:gre:ip", (f"{A} {C}", f"{B} {D}", "", ""), (A, B)),
        ("eth:ethertype:ip:ah:tcp", (A, B, "", ""), (A, B)),
        ("eth:ethertype:ip:udp", (A, B, "", ""), None),
        ("eth:ethertype:ip:icmp:ip:tcp", (f"{A} {C}", f"{B} {D}", "", ""), None),
        ("eth:ethertype:tcp", ("", "", "", ""), None),
        ("eth:ethertype:ip:tcp", ("", B, "", ""), None),
        ("eth:ethertype:ip:tcp", ("somewhere", B, "", ""), None),
    ],
)  # fmt: skip
def test_innermost(
    layers: str, values: tuple[str, str, str, str], expected: tuple[str, str] | None
) -> None:
    assert addresses(layers, *values) == expected
