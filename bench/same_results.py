"""Compares the outputs of two checkouts: `python -m bench.same_results OLD NEW`.

OLD may have the layout from before the folders per round; its files are found in their places in NEW. Models,
latents and drives must be the same byte for byte, scores the same by value; NEW may add names. The
rounds are those of OLD's params.yaml. Prints what differs or is missing, and then exits with 1.
"""

import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import process
from wm.params import file
from wm.runtime import files

SOURCES = ("lane_follower", "erratic")
MODELS = ("rnn.eqx", "simulators.eqx", "controller.eqx", "snapshots.eqx")
METRICS = (
    "dream.json",
    "drive.png",
    "drive.webm",
    "evolve.csv",
    "exploitation.csv",
    "fidelity.json",
    "real.csv",
    "real.json",
    "searches.json",
    "train_rnn.csv",
    "train_rnn.json",
)
LATER_PLACES = {  # of what lay in data/scores/<round>
    "controllers.eqx": "models/rounds/{}/ranked.eqx",
    "rnn.eqx": "models/rounds/{}/rnn.eqx",
    "simulators.eqx": "models/rounds/{}/simulators.eqx",
    "starts.npz": "models/rounds/{}/starts.npz",
}


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m bench.same_results OLD NEW")
    old, new = map(Path, sys.argv[1:])
    compared = [(a, b, difference(old / a, new / b)) for a, b in places(old)]
    for a, b, said in compared:
        if said:
            print(f"{a}{'' if a == b else f' -> {b}'}: {said}")
    different = sum(bool(said) for *_, said in compared)
    print(f"{len(compared)} compared, {different} differ")
    sys.exit(different > 0)


def places(old: Path) -> Iterator[tuple[str, str]]:
    """Where each output lies in the old checkout and in the new one."""
    rounds = list(file.read(old / "params.yaml")["rounds"])
    later = (old / "metrics/rounds").exists()
    for folder in (*(f"raw/{name}" for name in (*SOURCES, *rounds)), *shards("processed", rounds)):
        yield from inside(old, f"data/{folder}")
    for folder in shards("latents", rounds):
        yield from inside(old, f"data/{folder}")
    top = ("train_vae.json", "train_vae.csv", "reconstructions.png", "ranks.csv", "ranks.json", "rounds.csv")
    for path in ("models/vae.eqx", *(f"metrics/{name}" for name in top)):
        yield path, path
    between = "rounds/" if later else ""
    for name in ("init", *rounds):
        for model in MODELS[: 3 if name == "init" else None]:
            yield f"models/{between}{name}/{model}", f"models/rounds/{name}/{model}"
    for name in rounds:
        for metric in METRICS:
            yield f"metrics/{between}{name}/{metric}", f"metrics/rounds/{name}/{metric}"
        if later:
            yield from ((path, path) for path in {place.format(name) for place in LATER_PLACES.values()})
            yield f"metrics/rounds/{name}/ranked.json", f"metrics/rounds/{name}/ranked.json"
        else:
            for part, place in LATER_PLACES.items():
                yield f"data/scores/{name}/{part}", place.format(name)
            yield f"data/scores/{name}/scores.json", f"metrics/rounds/{name}/ranked.json"


def shards(kind: str, rounds: list[str]) -> list[str]:
    """The folders of processed drives or latents."""
    return [f"{kind}/{name}" for name in ("init", *rounds)]


def inside(old: Path, folder: str) -> Iterator[tuple[str, str]]:
    """Every file of a folder, which keeps its place; the folder itself if it is empty or missing."""
    paths = sorted(path for path in (old / folder).rglob("*") if path.is_file() and path.name != ".gitignore")
    for path in paths or [old / folder]:
        yield str(path.relative_to(old)), str(path.relative_to(old))


def difference(old: Path, new: Path) -> str:
    """In what the two files differ; empty if they do not."""
    missing = [str(path) for path in (old, new) if not path.is_file()]
    if missing:
        return f"missing: {', '.join(missing)}"
    if old.name == "scores.json":
        return changed(files.read_json(old)["controllers"], files.read_json(new)["real"])
    if old.suffix == ".json" and old.name != "manifest.json":
        return changed(files.read_json(old), files.read_json(new))
    if old.suffix == ".csv":
        return changed(rows(old), rows(new))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in (old, new)]
    return "" if digests[0] == digests[1] else f"sha256 {digests[0]}, now {digests[1]}"


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def changed(old: Any, new: Any, place: str = "") -> str:
    """The first value that differs. The new content may have more names."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name, value in old.items():
            if said := changed(value, new.get(name), f"{place}.{name}".lstrip(".")):
                return said
        return ""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = (changed(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(old, new, strict=True)))
        return next((said for said in parts if said), "")
    return "" if old == new else f"{place}: {str(old)[:40]}, now {str(new)[:40]}"


if __name__ == "__main__":
    process.set_up()
    main()
