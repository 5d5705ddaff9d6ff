"""Latents of a round's drives, and those of the rounds before: `python -m stages encode_explored ROUND PREV`.

The drives are filtered, cut and mirrored as in `process`. Their frames are needed for nothing else, so they
are not stored in processed form. The first latents of validation drives, from which dreams of the round's
agent start, are stored beside its models.
"""

import numpy as np

from wm.data.batches import longest
from wm.data.processing import Processing, check_sides
from wm.data.shards import Shards, Writer
from wm.dream.starts import unseen_starts
from wm.models.encoding import encoded
from wm.models.vae import VAE
from wm.params.model import Params
from wm.runtime import files, model_file
from wm.runtime.places import LATENTS, RAW, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import progress


def main(params: Params, round_name: str, prev: str) -> None:
    processing, model = Processing(**params.process.model_dump()), model_file.load(VAE_MODEL, VAE)
    shards, before = Shards(RAW / round_name), Shards(LATENTS / prev)
    shards.expect_frames()
    before.expect_latents(model.latent_size)
    records = processing.filtered(round_name, shards.records)
    check_sides(records, {True: "validation"})
    kept = [record for record in records if record.kept]
    steps = longest(kept)
    with files.replacing(LATENTS / round_name) as folder:
        writer = Writer(folder, round_name)
        writer.adopt(before)
        for record in progress(kept, f"encode {round_name}", len(kept)):
            for episode in processing.episodes(shards, record, params.environment.timing):
                writer.write(encoded(model, episode, steps))
        writer.finish()
    starts = unseen_starts(Shards(LATENTS / round_name))
    with (
        files.replacing(ROUND_MODELS / round_name / "starts.npz") as unfinished,
        unfinished.open("wb") as file,
    ):
        np.savez(file, **starts._asdict())
