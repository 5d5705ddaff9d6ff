"""What the documents say can be run, is run."""

import re
import runpy
from pathlib import Path

import numpy as np

from wm.data.episode import Episode, Record
from wm.data.shards import Writer
from wm.runtime import files

DOCS = Path(__file__).parents[1] / "docs"


def snippet(text, path):
    """The first block of Python in a document, as a file."""
    path.write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    return str(path)


def test_a_shard_is_read_as_data_md_says(tmp_path, monkeypatch):
    rng, last = np.random.default_rng(0), np.arange(5) == 4
    drive = Episode(
        Record(0, 7, "erratic", 5, score=1.5, warm_up_reward=0.5, lap_finished=False),
        {"frame": rng.integers(0, 256, (5, 64, 64, 3), np.uint8)},
        rng.uniform(-1, 1, (5, 3)).astype(np.float32),
        rng.normal(size=5).astype(np.float32),
        rng.integers(0, 3, 5, np.int16),
        last,
        ~last & last,
    )
    with files.replacing(tmp_path / "data" / "raw" / "erratic") as folder:
        writer = Writer(folder, "erratic")
        writer.write(drive)
        writer.finish()
    text = (DOCS / "data.md").read_text()
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(snippet(text, tmp_path / "snippet.py"))
    assert (found["frames"] == drive.observations["frame"]).all()
    assert (found["actions"] == drive.actions).all()
    assert (found["rewards"] == drive.rewards).all()
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))))
    assert named == {*found["rows"].column_names, "mu", "logvar"}
    assert all(f"`{name}`" in text for name in found["drive"] if name != "episode")
