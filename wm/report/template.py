"""The templates beside this module."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from wm.runtime.base64_text import base64_text

MINUS = "\N{MINUS SIGN}"


def number(value: float, form: str = ".0f") -> str:
    """A number with a true minus sign."""
    return format(value, form).replace("-", MINUS)


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(disabled_extensions=("md.j2",), default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"number": number, "base64": base64_text}


def render(name: str, values: Mapping[str, Any]) -> str:
    """The text of a template with its values. Values are escaped in HTML, not in Markdown."""
    return TEMPLATES.get_template(name).render(values)
