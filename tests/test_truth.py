"""Real captures against what QEMU and the kernel said of the same migrations."""

from __future__ import annotations

import pytest

from tests import shipped, truth

PLAIN = [name for name in shipped.NAMES if "tls" not in name]


@pytest.mark.parametrize("name", PLAIN)
def test_agrees_with_its_truth_file(name: str) -> None:
    report = truth.report_of(shipped.capture(name))
    assert list(truth.differences(name, report, shipped.truth(name))) == []
