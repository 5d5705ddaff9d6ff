"""Commands of `wm` in the process of the tests, for tests of what a command says and not of its process."""

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from wm import cli

ROOT = Path(__file__).parents[1]


def wm(*words: object, cwd: Path = ROOT) -> SimpleNamespace:
    """The exit code and what the command printed: returncode, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", ["wm", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
