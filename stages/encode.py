"""Latents of the scripted drivers' processed frames: `python -m stages encode`."""

from wm.data.batches import longest
from wm.data.shards import Shards, Writer
from wm.models.encoding import encoded
from wm.models.vae import VAE
from wm.params.model import Params
from wm.params.names import INIT
from wm.runtime import files, model_file
from wm.runtime.places import LATENTS, PROCESSED, VAE_MODEL
from wm.runtime.progress import progress


def main(params: Params) -> None:
    model = model_file.load(VAE_MODEL, VAE)
    shards = Shards(PROCESSED / INIT)
    shards.expect_frames()
    records = shards.kept()
    steps = longest(records)
    with files.replacing(LATENTS / INIT) as folder:
        writer = Writer(folder, INIT)
        for record in progress(records, "encode", len(records)):
            writer.write(encoded(model, shards.read(record), steps))
        writer.finish()
