"""Reading params.yaml."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from wm.errors import BadInput, shown
from wm.packaged import check_checkout
from wm.params.check import check
from wm.params.model import Params
from wm.spec import Timing

PARAMS = Path("params.yaml")
MAX_BYTES = 1 << 20


def load(path: Path = PARAMS) -> Params:
    """The parameters, every section checked. Raises BadInput."""
    return check(read(path))


def timing() -> Timing:
    """The timing in the project's params.yaml, for agents and drives that do not come with their own.

    The library reads nothing else of params.yaml. Raises BadInput.
    """
    return load().environment.timing


def read(path: Path = PARAMS) -> dict[str, Any]:
    """The file's content (YAML 1.2, duplicate names refused), not yet checked. Raises BadInput."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        check_checkout()
        raise BadInput(f"{path}: not found. Run `git checkout -- {path}`.") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, expected a file of parameters") from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"{path}: larger than {MAX_BYTES} bytes, expected a file of parameters")
    return parsed(content, str(path))


def parsed(content: bytes, place: str) -> dict[str, Any]:
    """A YAML mapping. Raises BadInput."""
    try:
        value = YAML(typ="safe").load(content.decode())
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise BadInput(f"{place}, line {line}: {_problem(error)}") from None
    except RecursionError:
        raise BadInput(f"{place}: nested too deeply, expected sections of parameters") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{place}, line {line}: found bytes that are not UTF-8, expected text") from None
    except (YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise BadInput(f"{place}: not valid YAML ({str(error)[:200]})") from None
    if value is None:
        raise BadInput(f"{place}: empty, expected sections of parameters")
    if not isinstance(value, dict):
        raise BadInput(f"{place}: found {shown(value)}, expected sections of parameters")
    return value


def _problem(error: MarkedYAMLError) -> str:
    """What is wrong with the YAML, in this project's words where it has them."""
    problem = str(error.problem or error.context)[:200]
    if "'\\t'" in problem:
        return "found a tab, expected spaces"
    if isinstance(error, DuplicateKeyError) and (name := re.search('key "(.*?)"', problem)):
        return f"found {shown(name[1])} a second time, expected each name once"
    return problem
