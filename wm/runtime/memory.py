"""A program that does not fit the device's memory: one line before it runs, or when memory runs out.

A CPU computes in the host's memory, so nothing is checked there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from wm.errors import BadInput, Halted, listed
from wm.params.file import PARAMS

EXHAUSTED = "RESOURCE_EXHAUSTED"  # in the message of XLA's error
FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION (0.75 if unset)"


class TooLarge(Halted):
    """A program needs more memory than the device has."""


def checked(program: Any) -> Any:
    """`program`, a function made by `eqx.filter_jit`, with a check at its first call, which raises TooLarge
    if the device has too little memory. The program is compiled once, for the check and for the call."""
    pending = True

    @wraps(program)
    def run(*arguments: Any) -> Any:
        nonlocal pending
        if pending:
            expect_room(program, *arguments)
            pending = False
        return program(*arguments)

    return run


def expect_room(program: Any, *arguments: Any) -> None:
    """Raises TooLarge if the device has too little memory for the program and for what is there already."""
    device = stats()
    if "bytes_limit" not in device:
        return
    needed, limit = needs(program, *arguments, in_use=device["bytes_in_use"]), device["bytes_limit"]
    if needed > limit:
        raise TooLarge(f"{needed / 1e9:.1f} GB, expected at most {limit / 1e9:.1f} GB")


def needs(program: Any, *arguments: Any, in_use: int = 0) -> int:
    """Bytes of arguments, results and temporary values of the compiled program, by XLA's analysis; 0 if XLA
    has none. `in_use`: bytes already on the device, which include the arguments."""
    sizes = program.lower(*arguments).compile().compiled.memory_analysis()
    if sizes is None:
        return 0
    results = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return max(sizes.argument_size_in_bytes, in_use) + results + sizes.temp_size_in_bytes


def stats() -> dict[str, int]:
    """JAX's figures on the device's memory, in bytes; empty on a CPU."""
    import jax  # here, since the runner prepares the process before JAX is imported

    return jax.local_devices()[0].memory_stats() or {}


def lines() -> Iterator[str]:
    """A line about each device, with the memory that JAX may use of it."""
    import jax

    for device in jax.local_devices():
        limit = (device.memory_stats() or {}).get("bytes_limit")
        room = f", {limit / 1e9:.1f} GB for JAX" if limit else ""
        yield f"{device.platform} {device.id}: {device.device_kind}{room}"


@contextmanager
def named(stage: str, sizes: Mapping[str, int]) -> Iterator[None]:
    """Turns TooLarge into BadInput, and running out of memory into Halted. Both name `sizes`, the parameters
    that determine how much memory the stage's steps need; a stage that has any resumes."""
    lower = f"lower {' or '.join(sizes)}"
    try:
        yield
    except TooLarge as error:
        found = " and ".join(map(str, sizes.values()))
        raise BadInput(
            f"{PARAMS}: {listed(sizes)}: found {found}, with which the device's memory must hold {error},"
            f" what JAX may use. To go on, {lower}, or raise {FRACTION}."
        ) from None
    except RuntimeError as error:
        if EXHAUSTED not in str(error):
            raise
        remedies = f"to resume; if it happens again, {lower}: the stage starts again" if sizes else "again"
        raise Halted(
            f"{stage}: the device's memory ran out. Close other programs that use it, or raise {FRACTION},"
            f" and run the same command {remedies}."
        ) from None
