"""What of the repository travels with the package: published agent, profiles, source of the web page."""

from pathlib import Path

PACKAGE = Path(__file__).parent
INSTALLED = PACKAGE / "repository"  # in a wheel; see pyproject.toml


def packaged(name: str | Path) -> Path:
    """A folder of the repository, such as models/pretrained, in a checkout and in a wheel alike."""
    return (INSTALLED if INSTALLED.exists() else PACKAGE.parent) / name


def restoring(name: str | Path) -> str:
    """What to do where a file of that folder is missing or damaged."""
    return "Install wm again." if INSTALLED.exists() else f"Run `git checkout {name}`."


def installing(extra: str) -> str:
    """What to do where the packages of an extra are missing."""
    return f"Install wm[{extra}]." if INSTALLED.exists() else f"Run `uv sync --extra {extra}`."
