"""The comparison of two checkouts, the first in the layout from when every round was evaluated."""

import pytest

from bench import same_results
from wm.runtime import files


@pytest.fixture
def checkouts(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "params.yaml").write_text("rounds:\n  r0: {prev: init}\n")
        files.write_json(folder / "metrics/ranks.json", {"chosen": "r0"})
    for before, after in list(same_results.places(old)):
        for path in (old / before, new / after):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                path.write_text('{"score": {"mean": 1.5}}')
            elif path.suffix == ".csv":
                path.write_text("step,loss\n1,0.5\n")
            elif path.suffix:
                path.write_bytes(b"bytes")
            else:
                files.write_bytes(path / "shard.parquet", b"bytes")
    return old, new


def compared(checkouts, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["same_results", *map(str, checkouts)])
    with pytest.raises(SystemExit) as ended:
        same_results.main()
    return ended.value.code, capsys.readouterr().out


def test_equal_outputs_in_their_new_places_are_the_same(checkouts, monkeypatch, capsys):
    code, said = compared(checkouts, monkeypatch, capsys)
    assert (code, said.splitlines()) == (0, [said.strip()])
    assert said.endswith("compared, 0 differ\n")
    files.write_json(checkouts[1] / "metrics/real.json", {"score": {"mean": 1.5}, "below_600": 0})
    assert compared(checkouts, monkeypatch, capsys)[0] == 0  # a new name


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("models/rounds/r0/rnn.eqx", b"byteS", "models/rounds/r0/rnn.eqx: sha256 "),
        ("metrics/drive.png", b"byteS", "metrics/rounds/r0/drive.png -> metrics/drive.png: sha256 "),
        ("data/latents/r0/shard.parquet", b"x", "data/latents/r0/shard.parquet: sha256 "),
        ("metrics/real.json", b'{"score": {"mean": 1.6}}', "score.mean: 1.5, now 1.6"),
        ("metrics/train_vae.csv", b"step,loss\n1,0.6\n", "[0].loss: 0.5, now 0.6"),
        ("metrics/train_vae.csv", None, "missing: "),
    ],
)
def test_a_difference_is_named(checkouts, monkeypatch, capsys, path, content, said):
    place = checkouts[1] / path
    place.unlink() if content is None else place.write_bytes(content)
    code, printed = compared(checkouts, monkeypatch, capsys)
    assert code == 1
    assert said in printed
    assert "compared, 1 differ" in printed or "rnn" in path
