"""Compares the outputs of two checkouts: `python -m bench.same_results OLD NEW`.

OLD may have the layout from when every round was evaluated; the chosen round's files are found in their
places in NEW. Models, latents and drives must be the same byte for byte, scores the same by value; NEW may
add names. The rounds are those of OLD's params.yaml. Prints what differs or is missing, and then exits
with 1.
"""

import csv
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import process
from wm.params import file
from wm.runtime import files

SOURCES = ("lane_follower", "erratic")
MODELS = ("rnn.eqx", "simulators.eqx", "controller.eqx", "snapshots.eqx")
OF_A_ROUND = ("dream.json", "evolve.csv", "searches.json", "train_rnn.csv", "train_rnn.json")
OF_THE_CHOSEN_ROUND = ("drive.png", "drive.webm", "exploitation.csv", "real.csv", "real.json")
OF_ALL = ("train_vae.json", "train_vae.csv", "reconstructions.png")
LATER = ("controllers.csv", "fidelity.json", "ranks.csv", "ranks.json", "rounds.csv")  # not in the old layout


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
    later = (old / "metrics/real.json").exists()
    latents = (f"latents/{name}" for name in ("init", *rounds))
    for folder in (*(f"raw/{name}" for name in (*SOURCES, *rounds)), "processed/init", *latents):
        yield from inside(old, f"data/{folder}")
    for path in ("models/vae.eqx", *(f"metrics/{name}" for name in (*OF_ALL, *(LATER if later else ())))):
        yield path, path
    for name in ("init", *rounds):
        yield from same(f"models/rounds/{name}", MODELS[: 3 if name == "init" else None])
    for name in rounds:
        yield from same(f"metrics/rounds/{name}", (*OF_A_ROUND, *(["explore.json"] if later else [])))
    chosen = files.read_json(old / "metrics/ranks.json")["chosen"]
    for name in OF_THE_CHOSEN_ROUND:
        yield f"metrics/{name}" if later else f"metrics/rounds/{chosen}/{name}", f"metrics/{name}"


def same(folder: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Files of a folder that keep their places."""
    yield from ((f"{folder}/{name}", f"{folder}/{name}") for name in names)


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
