"""The JSON Schema of params.yaml, and params.yaml with the models' descriptions as comments."""

import io
import textwrap
from typing import Any, get_args

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from wm.params.model import Params

WIDTH = 100  # columns of a comment


def schema() -> dict[str, Any]:
    """The JSON Schema, for editors."""
    address = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": address, **Params.model_json_schema()}


def rendered(content: dict[str, Any]) -> str:
    """params.yaml with `content`, every parameter under its description."""
    writer = YAML()
    writer.width = 4096
    text = io.StringIO()
    writer.dump(_commented(content, Params, 0), text)
    return text.getvalue()


def _commented(content: dict[str, Any], model: type[BaseModel], depth: int) -> CommentedMap:
    section = CommentedMap()
    for number, (name, value) in enumerate(content.items()):
        field = model.model_fields[name]
        section[name] = _value(value, field.annotation, depth + 1)
        indent = 2 * depth
        comment = "\n".join(textwrap.wrap(field.description or "", WIDTH - 2 - indent))
        section.yaml_set_comment_before_after_key(name, before=comment, indent=indent)
        if depth == 0 and number:
            section.ca.items[name][1].insert(0, _blank_line())
    return section


def _blank_line() -> Any:
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    return CommentToken("\n", CommentMark(0), None)


def _value(value: Any, kind: Any, depth: int) -> Any:
    """Sections in block style; lists and mappings of plain numbers on one line."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _commented(value, kind, depth)
    if isinstance(value, dict):
        entries = CommentedMap(value)
        kinds = [arg for arg in get_args(kind) if isinstance(arg, type) and issubclass(arg, BaseModel)]
        if kinds:  # names the user chooses: one line each
            for name, entry in value.items():
                entries[name] = line = CommentedMap(entry)
                line.fa.set_flow_style()
        else:
            entries.fa.set_flow_style()
        return entries
    if isinstance(value, list):
        items = CommentedSeq([_value(item, None, depth) for item in value])
        items.fa.set_flow_style()
        return items
    return value
