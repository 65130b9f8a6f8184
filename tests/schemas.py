"""Validates reports against their schemas."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import jsonschema

__all__ = ["conform", "load"]


def load(name: str) -> Any:
    """One of the package's schemas."""
    text = resources.files("analyzer.report").joinpath(f"schema/{name}.json").read_text("utf-8")
    return json.loads(text)


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    """The validator of one of the package's schemas; cached, as it is slow to make."""
    schema = load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def conform(document: Any, name: str) -> None:
    """Raises :class:`jsonschema.ValidationError` if a document violates schema ``name``."""
    _validator(name).validate(document)
