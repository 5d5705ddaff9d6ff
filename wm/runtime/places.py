"""Where the pipeline's files and agents lie. dvc.yaml names the same places, from the project's root on."""

from pathlib import Path

from wm.errors import BadInput, closest
from wm.packaged import AT_ROOT, in_checkout, packaged, restoring

DATA, MODELS, METRICS = Path("data"), Path("models"), Path("metrics")
RAW, PROCESSED, LATENTS = DATA / "raw", DATA / "processed", DATA / "latents"
VAE_MODEL = MODELS / "vae.eqx"
ROUND_MODELS, ROUND_METRICS = MODELS / "rounds", METRICS / "rounds"  # with a folder for each round
PRETRAINED = MODELS / "pretrained"
PUBLISHED = "published"  # name of the agent in PRETRAINED, wherever the package is installed
AGENT_MODELS = ("vae.eqx", "rnn.eqx", "controller.eqx")  # that every agent has


def agent_folder(models: str | Path) -> Path:
    """The folder of an agent by its path or by the name of the published one."""
    return packaged(PRETRAINED) if str(models) == PUBLISHED else Path(models)


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


def found_agent(models: Path) -> Path:
    """The folder of an agent. Raises BadInput unless all its models exist; does not read them."""
    folder = agent_folder(models)
    beside = [path.name for path in folder.parent.glob("*/")] + [PUBLISHED] * (folder.parent == Path())
    if not folder.exists() and (near := closest(folder.name, beside)):
        raise BadInput(f"{folder}: not found. Did you mean {folder.parent / near}?")
    for name in AGENT_MODELS:
        if not (path := agent_file(folder, name)).exists():
            raise BadInput(f"{path}: not found. {remedy(path, missing=True)}")
    return folder


def of_pipeline(path: Path) -> bool:
    """Whether this is the place of an output of `dvc repro`, by its path from the project's root."""
    folders = (RAW, PROCESSED, LATENTS, ROUND_MODELS, METRICS)
    return path == VAE_MODEL or any(path.is_relative_to(folder) for folder in folders)


def remedy(path: Path, *, missing: bool = False, otherwise: str = "") -> str:
    """What to do about a file that is missing or damaged. It depends on where a good copy is: in git, in
    DVC's cache, or elsewhere; `otherwise` is the advice for the last case, by default that for an agent."""
    if path.absolute().is_relative_to(packaged(PRETRAINED)):
        return restoring(path)
    if of_pipeline(path) and in_checkout():
        if missing or path.is_relative_to(METRICS):  # in git, or of no use to other stages
            return "Run `dvc repro`, which restores or makes it."
        return (
            f"Run `dvc checkout --force {path}`, or where DVC's cache lacks it `dvc repro`, which makes it."
        )
    if of_pipeline(path) and missing:
        return AT_ROOT
    if missing:
        return otherwise or "Name an agent's folder with --models."
    return otherwise or "Copy the agent's folder again, or name another with --models."
