"""Filters drives by score, mirrors them and sets tracks aside: `python -m stages.process [ROUND]`.

Without a round it reads the scripted drivers' data, with one what the agent of that round explored.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt

from wm import config, files
from wm.episodes import Record, Shards, Writer, mirror
from wm.progress import progress

RAW, PROCESSED = Path("data/raw"), Path("data/processed")


class Config(config.Section):
    seed: NonNegativeInt
    mirror: bool
    validation_share: float
    min_score: dict[str, float]  # by source; episodes below are dropped, sources not named are kept


def set_aside(records: list[Record], share: float, seed: int) -> set[int]:
    """The track seeds of the validation split: at least one, `share` of all."""
    seeds = sorted({record.seed for record in records})
    count = max(1, round(share * len(seeds)))
    return set(np.random.default_rng(seed).permutation(seeds)[:count].tolist())


def check_any_left(records: list[Record], least: float, source: str) -> None:
    """Refuses a filter that keeps nothing."""
    if not any(record.score > least for record in records):
        scores = ", ".join(f"{record.score:.0f}" for record in records[:20])
        place = f"{config.PARAMS}: process.min_score.{source}"
        raise config.BadInput(f"{place}: no episode scores above {least}; they score {scores}")


def main(round_name: str | None = None) -> None:
    settings = config.section(Config, "process")
    sources = [round_name] if round_name else list(config.read()["collect"])
    name = round_name or config.FIRST_ROUND
    with files.replacing(PROCESSED / name) as folder:
        writer = Writer(folder, name)
        for source in sources:
            process(source, settings, writer)
        writer.finish()


def process(source: str, settings: Config, writer: Writer) -> None:
    """All of one source's episodes, each followed by its mirrored twin."""
    shards = Shards(RAW / source)
    least = settings.min_score.get(source, -np.inf)
    check_any_left(shards.records, least, source)
    validation = set_aside(shards.records, settings.validation_share, settings.seed)
    for record in progress(shards.records, f"process {source}", len(shards.records)):
        episode = shards.read(record)
        marks = {"kept": record.score > least, "validation": record.seed in validation}
        episode = replace(episode, record=replace(record, **marks))
        writer.write(episode)
        if settings.mirror and episode.record.kept:
            writer.write(mirror(episode))


if __name__ == "__main__":
    config.run(main, *sys.argv[1:])
