"""Runs the command line in this process."""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

from analyzer.cli import main


class Ran(NamedTuple):
    status: int
    out: str
    err: str


def mfshark(*words: object) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return Ran(status, out.getvalue(), err.getvalue())
