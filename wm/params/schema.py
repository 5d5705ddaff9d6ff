"""The JSON Schema of params.yaml, and params.yaml with the descriptions of its parameters as comments."""

import inspect
import io
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from wm.params.model import Params
from wm.params.section import Section

COLUMNS = 100  # of a comment


def schema() -> dict[str, Any]:
    """The JSON Schema, for editors."""
    address = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": address, **Params.model_json_schema()}


def rendered(content: dict[str, Any]) -> str:
    """The text of params.yaml: each parameter below its description, sections separated by blank lines.

    Lines break where DVC breaks them when it writes the file, so that `dvc exp run -S` changes one line.
    """
    sections = ["\n".join(_lines({name: value}, Params, "")) for name, value in content.items()]
    writer, text = YAML(), io.StringIO()
    writer.dump(writer.load("\n\n".join(sections) + "\n"), text)
    return text.getvalue()


def _lines(content: dict[str, Any], model: type[Section], indent: str) -> Iterator[str]:
    for name, value in content.items():
        field = model.model_fields[name]
        section, entries = _section(field.annotation), _section(*get_args(field.annotation)[1:])
        comment = f"{indent}# "
        yield from textwrap.wrap(
            _description(field, section), COLUMNS, initial_indent=comment, subsequent_indent=comment
        )
        if section:
            yield f"{indent}{name}:"
            yield from _lines(value, section, f"{indent}  ")
        elif entries:  # a section for each name that the user chooses
            yield f"{indent}{name}:"
            yield from (f"{indent}  {key}: {_flow(entry)}" for key, entry in value.items())
        else:
            yield f"{indent}{name}: {_flow(value)}"


def _section(kind: Any = None, *_: Any) -> type[Section] | None:
    kind = next(iter(get_args(kind)), kind)  # one of a union
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _description(field: FieldInfo, section: type[Section] | None) -> str:
    """The parameter's description; for a section without one, the docstring of its model."""
    return field.description or inspect.cleandoc(section.__doc__ or "" if section else "")


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    writer, text = YAML(), io.StringIO()
    writer.default_flow_style, writer.width = True, 1 << 16
    writer.dump({"x": value}, text)
    return text.getvalue().strip().removeprefix("{x: ").removesuffix("}")
