"""What every section of params.yaml has in common, and how a mistake in one is reported."""

from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from wm.errors import BadInput, listed, shown

LARGEST = 2**31 - 1  # of any whole number


class Section(BaseModel):
    """A section of params.yaml: no unknown names, no defaults, no silent conversions.

    `renamed` maps former parameter names to today's.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    renamed: ClassVar[dict[str, str]] = {}

    @field_validator("*")
    @classmethod
    def _not_too_large(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"expected a whole number of at most {LARGEST}")
        return value


S = TypeVar("S", bound=BaseModel)


def distinct(numbers: list[float]) -> list[float]:
    """The same numbers. Raises ValueError for duplicates."""
    if len(set(numbers)) < len(numbers):
        raise ValueError("expected distinct numbers")
    return numbers


def validated(kind: type[S], value: Any, place: str) -> S:
    """`value` as a `kind`. Raises BadInput, one line that names the first mistake."""
    try:
        return kind.model_validate(value, strict=True)
    except ValidationError as error:
        raise _refusal(kind, error, place) from None


def validated_json(kind: type[S], text: str, place: str) -> S:
    """A JSON text as a `kind`. Raises BadInput, one line that names the first mistake."""
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _refusal(kind, error, place) from None


def _refusal(kind: type[BaseModel], error: ValidationError, place: str) -> BadInput:
    errors = error.errors(include_url=False)
    unknown = [e for e in errors if e["type"] == "extra_forbidden"]  # a misspelt name is also a missing one
    first = [*unknown, *errors][0]
    inside = ".".join(str(part)[:60] for part in first["loc"] if part != "[key]")
    where = f"{place}{'.' if ': ' in place else ': '}{inside}" if inside else place
    if first["type"] == "missing":
        return BadInput(f"{where}: is missing")
    if first["type"] == "extra_forbidden":
        section = _section(kind, first["loc"][:-1])
        if new_name := getattr(section, "renamed", {}).get(first["loc"][-1]):
            return BadInput(f"{where}: has a new name: {new_name}")
        names = list(getattr(section, "model_fields", []))
        similar = get_close_matches(str(first["loc"][-1]), names, n=1)
        expected = similar[0] if similar else f"one of {listed(names)}"
        return BadInput(f"{where}: unknown name, expected {expected}")
    if first["type"] == "value_error":
        reason = first["msg"].removeprefix("Value error, ")
        return BadInput(f"{where}: found {shown(first['input'])}, {reason}")
    return BadInput(f"{where}: found {shown(first['input'])}, expected {_expected(first)}")


EXPECTED = {  # by Pydantic's name of the error; the limits are in the error's context
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "list_type": "a list",
    "dict_type": "names with values",
    "model_type": "names with values",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}


def _expected(error: Any) -> str:
    """What a parameter should be, in this project's words where it has them."""
    if error["type"] in EXPECTED:
        return EXPECTED[error["type"]].format(**error.get("ctx", {}))
    return error["msg"].removeprefix("Input should be ")


def _section(kind: Any, path: tuple[int | str, ...]) -> Any:
    """The model that lies along `path` in `kind`."""
    for part in path:
        kind = get_args(kind)[-1] if get_args(kind) else kind.model_fields[str(part)].annotation
    return kind
