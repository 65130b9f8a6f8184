"""Generates, from the table of settings, the JSON schema of configuration files and their
documentation page.  ``python -m analyzer.config.reference docs`` writes the page into that folder,
and the schema that is shipped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from analyzer.config.settings import ANY, SECTIONS, in_section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    from analyzer.config.settings import Setting

    Json: TypeAlias = dict[str, Any]

__all__ = ["PAGE", "SHIPPED", "schema", "schema_text", "settings_page"]

SHIPPED = Path(__file__).with_name("mfshark-config-1.json")
PAGE = "settings.md"


def schema() -> Json:
    """The JSON schema of ``mfshark.toml``, and of the table in ``pyproject.toml``."""
    patterns = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    files = _tables(per_file=True)
    files["properties"]["pattern"] = {
        "oneOf": [{"type": "string"}, patterns],
        "description": "captures that the table is about, relative to the file's folder",
    }
    files["required"] = ["pattern"]
    whole = _tables(per_file=False)
    whole["properties"]["files"] = {
        "type": "array",
        "items": files,
        "description": "settings of some captures",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mfshark configuration",
        **whole,
    }


def schema_text() -> str:
    """The schema as it is shipped."""
    return json.dumps(schema(), indent=1) + "\n"


def _tables(*, per_file: bool) -> Json:
    """The schema of the top level, or of a ``[[files]]`` table."""
    properties: Json = {}
    for section, meaning in SECTIONS.items():
        settings = [s for s in in_section(section) if s.per_file or not per_file]
        if not section:
            properties |= {setting.name: _property(setting) for setting in settings}
            continue
        table: Json = {"type": "object", "description": meaning}
        if settings[0].name == ANY:
            table["additionalProperties"] = settings[0].kind.schema()
        else:
            table["additionalProperties"] = False
            table["properties"] = {setting.name: _property(setting) for setting in settings}
        properties[section] = table
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(setting: Setting) -> Json:
    told: Json = {**setting.kind.schema(), "description": setting.meaning.replace("\n", "; ")}
    if setting.default is not None:
        told["default"] = setting.default
    return told


def settings_page() -> str:
    """Every setting, by table."""
    return "\n".join(_page_lines()) + "\n"


def _page_lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "The settings in `mfshark.toml`, or below `[tool.mfshark]` in `pyproject.toml`; generated"
    yield "from the code. [Configuration](configuration.md) explains how they are used."
    for section, meaning in SECTIONS.items():
        yield ""
        yield f"## [{section}]" if section else "## Above all tables"
        yield ""
        yield f"{meaning}."
        yield ""
        yield "| setting | value | default | meaning | option |"
        yield "|---|---|---|---|---|"
        for setting in in_section(section):
            yield _row(setting)


def _row(setting: Setting) -> str:
    name = "*RULE*" if setting.name == ANY else f"`{setting.name}`"
    default = "" if setting.default is None else f"`{json.dumps(setting.default)}`"
    apart = "" if setting.per_file else "; the same for all captures"
    meaning = setting.meaning.replace("\n", "<br>") + apart
    cells = (name, setting.kind.words, default, meaning, f"`{setting.option}`")
    return f"| {' | '.join(cells)} |"


def main(folder: str) -> None:
    """Write both."""
    (Path(folder) / PAGE).write_text(settings_page(), encoding="utf-8")
    SHIPPED.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
