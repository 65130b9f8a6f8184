"""Synthetic captures: a TOML scenario in, a pcap or pcapng file out; the same bytes every time.

``build(scenario)`` returns a whole capture in memory, ``synth(scenario, out)`` writes one of any
size in fixed memory.  ``docs/synth.md`` explains every key.
"""

from __future__ import annotations

from analyzer.synth.builder import FAULTS, build, synth
from analyzer.synth.faults import FaultKind
from analyzer.synth.scenario import ScenarioError, load, override

__all__ = ["FAULTS", "FaultKind", "ScenarioError", "build", "load", "override", "synth"]
