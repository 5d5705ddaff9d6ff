"""The spec of an environment, with options that JSON can hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec


class PlainSpec:
    """The attribute `spec` of an environment: the EnvSpec with plain options, so that `to_json` works."""

    def __get__(self, environment: Any, owner: type) -> EnvSpec | None:
        return None if environment is None else vars(environment).get("spec")

    def __set__(self, environment: Any, spec: EnvSpec | None) -> None:
        vars(environment)["spec"] = spec and plain(spec)


def plain(spec: EnvSpec) -> EnvSpec:
    """The spec with paths as strings, ranges and arrays as lists."""
    return replace(spec, kwargs={name: _plain(value) for name, value in spec.kwargs.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, range) else value
