"""What the modules of the wire format offer to others."""

from __future__ import annotations

import importlib

import pytest

MODULES = (
    "colo",
    "dialects",
    "iterables",
    "main_stream",
    "multifd",
    "return_path",
    "vfio",
    "xbzrle",
)


@pytest.mark.parametrize("name", MODULES)
def test_all_names_everything_of_its_own(name: str) -> None:
    module = importlib.import_module(f"dissectors.{name}")
    offered = module.__all__
    assert len(set(offered)) == len(offered)
    assert all(hasattr(module, own) for own in offered)
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    assert own <= set(offered)
