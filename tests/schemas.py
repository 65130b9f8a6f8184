"""The schemas of reports, and whether a report conforms."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import jsonschema

__all__ = ["conform"]


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    """Of one of the package's schemas; making it takes longer than using it."""
    text = resources.files("analyzer.report").joinpath(f"schema/{name}.json").read_text("utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def conform(document: Any, name: str) -> None:
    """Raises :class:`jsonschema.ValidationError` where a document breaks its schema."""
    _validator(name).validate(document)
