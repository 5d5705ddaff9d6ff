"""Where the pipeline's files lie, relative to the project's root. dvc.yaml names the same places."""

from pathlib import Path

RAW, PROCESSED, LATENTS = Path("data/raw"), Path("data/processed"), Path("data/latents")
MODELS, METRICS = Path("models"), Path("metrics")
VAE_MODEL = MODELS / "vae.eqx"
ROUND_MODELS, ROUND_METRICS = MODELS / "rounds", METRICS / "rounds"  # with a folder for each round
