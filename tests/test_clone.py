"""A clone has the bytes of every file in git, whatever the user's settings of git."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def git(folder, *words, **options):
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf"])
def test_a_clone_with_line_endings_of_windows_keeps_every_byte(tmp_path, setting):
    """DVC compares the MD5 of files as they lie on disk."""
    options = ["-c", setting, "-c", "core.safecrlf=false"]
    command = ["git", "clone", "-q", "--depth", "1", *options, f"file://{ROOT}", str(tmp_path / "clone")]
    subprocess.run(command, check=True)
    clone = tmp_path / "clone"
    assert git(clone, "status", "--porcelain") == ""
    committed = [line.split("\t") for line in git(clone, "ls-tree", "-r", "HEAD").splitlines()]
    names = "\n".join(name for _, name in committed)
    found = git(clone, "hash-object", "--no-filters", "--stdin-paths", input=names).split()
    assert len(found) > 100
    assert [name for (blob, name), now in zip(committed, found, strict=True) if blob.split()[2] != now] == []
