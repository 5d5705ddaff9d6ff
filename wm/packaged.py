"""What of the repository travels with the package: published agent, profiles, source of the web page.

The rest needs a checkout.
"""

from pathlib import Path

from wm.errors import BadInput

DAG = Path("dvc.yaml")
AT_ROOT = "Run this command from the root of a checkout of the pipeline."
PACKAGE = Path(__file__).parent
INSTALLED = PACKAGE / "repository"  # in a wheel; see pyproject.toml


def packaged(name: str | Path) -> Path:
    """A folder of the repository, such as models/pretrained, in a checkout and in a wheel alike."""
    return (INSTALLED if INSTALLED.exists() else PACKAGE.parent) / name


def restoring(path: str | Path) -> str:
    """What to do where a file that is in git, and in a wheel, is missing or damaged."""
    if INSTALLED.exists():
        return "Install wm again."
    root = PACKAGE.parent
    path = Path(path).absolute()
    path = path.relative_to(root) if path.is_relative_to(root) else path
    elsewhere = "" if Path.cwd() == root else f" -C {root}"
    return f"Run `git{elsewhere} checkout -- {path}`."


def in_checkout() -> bool:
    """Whether the working folder is the root of a checkout of the pipeline."""
    return DAG.exists()


def check_checkout() -> None:
    """Raises BadInput unless the working folder is the root of a checkout of the pipeline."""
    if not in_checkout():
        raise BadInput(f"{DAG}: not found. {AT_ROOT}")


def installing(extra: str) -> str:
    """What to do where the packages of an extra are missing."""
    return f"Install wm[{extra}]." if INSTALLED.exists() else f"Run `uv sync --extra {extra}`."
