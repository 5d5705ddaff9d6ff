"""Where the pipeline's files lie, relative to the project's root. dvc.yaml names the same places."""

from pathlib import Path

RAW, PROCESSED, LATENTS = Path("data/raw"), Path("data/processed"), Path("data/latents")
MODELS, METRICS = Path("models"), Path("metrics")
VAE_MODEL = MODELS / "vae.eqx"
ROUND_MODELS, ROUND_METRICS = MODELS / "rounds", METRICS / "rounds"  # with a folder for each round
PRETRAINED = MODELS / "pretrained"


def remedy(path: Path, *, missing: bool = False) -> str:
    """What to do about a file that is missing or damaged."""
    if path.is_relative_to(PRETRAINED):
        if missing:
            return "Run this command from the project's root, or name an agent's folder with --models."
        return f"Run `git checkout {PRETRAINED}`."
    if not path.is_absolute() and path.parts[0] in ("data", "models", "metrics"):
        return "Run `dvc checkout` or `dvc repro`."
    if missing:
        return "Name an agent's folder with --models."
    return "Copy the agent's folder again, or name another with --models."
