"""What every section of params.yaml has in common, and how a mistake in one is reported."""

from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from wm.errors import BadInput, closest, listed, shown

LARGEST = 2**31 - 1  # of any whole number
FEW = 6  # names that a message lists


class Section(BaseModel):
    """A section of params.yaml: no unknown names, no defaults, no silent conversions.

    `renamed` maps former parameter names to today's; `removed` names those that have no successor.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    renamed: ClassVar[dict[str, str]] = {}
    removed: ClassVar[tuple[str, ...]] = ()

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
    """The first mistake, and how many others there are."""
    errors = error.errors(include_url=False)
    unknown = [e for e in errors if e["type"] == "extra_forbidden"]
    meant = {
        (*e["loc"][:-1], _meant(kind, e["loc"])) for e in unknown
    }  # a misspelt name is also a missing one
    others = [e for e in errors if e not in unknown and not (e["type"] == "missing" and e["loc"] in meant)]
    first, *more = [*unknown, *others]
    rest = f" (and {len(more)} more mistake{'s' * (len(more) > 1)})" if more else ""
    return BadInput(_mistake(kind, first, place) + rest)


def _mistake(kind: type[BaseModel], error: Any, place: str) -> str:
    """What is wrong with one parameter."""
    inside = ".".join(str(part)[:60] for part in error["loc"] if part != "[key]")
    where = f"{place}{'.' if ': ' in place else ': '}{inside}" if inside else place
    if error["type"] == "missing":
        return f"{where}: is missing"
    if error["type"] == "extra_forbidden":
        return f"{where}: {_unknown(kind, error['loc'])}"
    found = "nothing" if error["input"] is None else shown(error["input"])
    if error["type"] == "value_error":
        return f"{where}: found {found}, {error['msg'].removeprefix('Value error, ')}"
    return f"{where}: found {found}, expected {_expected(error)}"


def _unknown(kind: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """What to say about a name that the section does not have."""
    section, name = _section(kind, path[:-1]), path[-1]
    if new_name := getattr(section, "renamed", {}).get(name):
        return f"has a new name: {new_name}"
    if name in getattr(section, "removed", ()):
        return "was removed"
    if meant := _meant(kind, path):
        return f"unknown name. Did you mean {meant}?"
    names = list(getattr(section, "model_fields", []))
    rest = f", ... ({len(names)} names)" if len(names) > FEW else ""
    return f"unknown name, expected one of {listed(names[:FEW])}{rest}"


def _meant(kind: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """The parameter that an unknown name stands for, or nothing."""
    section, name = _section(kind, path[:-1]), str(path[-1])
    names = list(getattr(section, "model_fields", []))
    return getattr(section, "renamed", {}).get(name) or closest(name, names)


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
