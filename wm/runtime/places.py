"""Where the pipeline's files lie, relative to the project's root. dvc.yaml names the same places."""

from pathlib import Path

from wm.errors import BadInput

DATA, MODELS, METRICS = Path("data"), Path("models"), Path("metrics")
RAW, PROCESSED, LATENTS = DATA / "raw", DATA / "processed", DATA / "latents"
VAE_MODEL = MODELS / "vae.eqx"
ROUND_MODELS, ROUND_METRICS = MODELS / "rounds", METRICS / "rounds"  # with a folder for each round
PRETRAINED = MODELS / "pretrained"
MAKE_AGAIN = "Run `dvc repro`, which restores or remakes it."
AGENT_MODELS = ("vae.eqx", "rnn.eqx", "controller.eqx")  # that every agent has


def agent_file(folder: Path, name: str) -> Path:
    """A file of the agent in `folder`.

    The folder of a round, models/rounds/NAME, has neither the VAE, which all rounds share, nor dream.json,
    which is with the metrics.
    """
    path = folder / name
    if path.exists() or folder.parent.parts[-2:] != ROUND_MODELS.parts:
        return path
    elsewhere = {VAE_MODEL.name: VAE_MODEL, "dream.json": ROUND_METRICS / folder.name / "dream.json"}
    return folder.parents[2] / elsewhere[name] if name in elsewhere else path


def check_agent(folder: Path) -> None:
    """Raises BadInput unless all models of the agent in `folder` exist; does not read them."""
    for name in AGENT_MODELS:
        if not (path := agent_file(folder, name)).exists():
            raise BadInput(f"{path}: not found. {remedy(path, missing=True)}")


def of_pipeline(path: Path) -> bool:
    """Whether `dvc repro` makes this file."""
    folders = (DATA.name, MODELS.name, METRICS.name)
    return not path.is_absolute() and path.parts[0] in folders and not path.is_relative_to(PRETRAINED)


def remedy(path: Path, *, missing: bool = False) -> str:
    """What to do about a file that is missing or damaged."""
    if path.is_relative_to(PRETRAINED):
        if missing:
            return "Run this command from the project's root, or name an agent's folder with --models."
        return f"Run `git checkout {PRETRAINED}`."
    if of_pipeline(path):
        return MAKE_AGAIN
    if missing:
        return "Name an agent's folder with --models."
    return "Copy the agent's folder again, or name another with --models."
