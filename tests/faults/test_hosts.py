"""Two processes that train together, started by a stand-in for SLURM's `srun`."""

import json
import os
import sys
import textwrap

import pytest
import small
from ruamel.yaml import YAML

SRUN = """#!{python}
import os, subprocess, sys

one = {{"JOB_ID": str(os.getpid()), "STEP_NODELIST": "localhost", "NTASKS": "2"}}
both = [
    subprocess.Popen(
        sys.argv[1:],
        env=os.environ | {{f"SLURM_{{k}}": v for k, v in (one | {{"PROCID": i, "LOCALID": i}}).items()}},
    )
    for i in "01"
]
sys.exit(max(process.wait() for process in both))
"""
TOGETHER = """
    from pathlib import Path
    import jax, numpy as np
    from wm.params import file
    from wm.runtime import devices

    devices.join(file.load().hosts.launcher)
    mine = Path("models") if jax.process_index() == 0 else Path("metrics")
    devices.share(mine)
    doubled = jax.jit(lambda x: 2 * x)(devices.split(np.arange(6)))
    assert not doubled.is_fully_addressable
    found = [jax.process_count(), devices.whole(doubled).tolist(), sorted(p.name for p in mine.iterdir())]
    Path("models", "found").write_text(repr(found))
    (home / f"{jax.process_index()}").write_text(f"{Path.cwd()} {found}")
"""


@pytest.fixture
def launched(tmp_path):
    """Sets `hosts.launcher` in a folder's params.yaml."""
    srun = tmp_path / "srun"
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(0o755)

    def launch(folder):
        path = folder / "params.yaml"
        params = YAML(typ="safe").load(path)
        YAML(typ="safe").dump(params | {"hosts": {"launcher": str(srun)}}, path)
        return folder

    return launch


def test_both_processes_see_all_data_and_only_the_first_writes(trained, launched, tmp_path):
    folder = launched(small.copy(trained, tmp_path / "project", without="evolve"))
    for name in ("models", "metrics"):
        for path in (folder / name).glob("*.*"):
            path.unlink()
    (folder / "models" / "only the first has this").touch()
    script = folder / "together.py"
    script.write_text(
        f"from pathlib import Path\nhome = Path({str(tmp_path)!r})\n" + textwrap.dedent(TOGETHER)
    )
    code, said = small.run(folder, [sys.executable, str(script)])
    assert code == 0, said
    homes = [(tmp_path / name).read_text().split(" ", 1) for name in "01"]
    assert homes[0][1] == (folder / "models" / "found").read_text()
    assert homes[0][1].startswith("[2, [0, 2, 4, 6, 8, 10], [")
    assert "only the first has this" in homes[1][1]
    assert homes[0][0] == str(folder)
    assert not os.path.exists(homes[1][0])


@pytest.mark.parametrize("stage", ["train_vae", "train_rnn", "evolve"])
def test_two_processes_compute_what_one_computes(trained, launched, tmp_path, stage):
    folder = launched(small.copy(trained, tmp_path / "project", without=stage))
    code, said = small.run(folder, small.command(stage))
    assert code == 0, said
    assert small.leftovers(folder) == []
    expected = small.checksums(trained, stage)
    assert small.checksums(folder, stage).keys() == expected.keys()
    for name in expected:
        if name.endswith(".json"):
            one, two = (json.loads((home / name).read_text()) for home in (trained, folder))
            for value, other in zip(numbers(one), numbers(two), strict=True):
                assert other == pytest.approx(value, rel=0.05, abs=0.05), name


def numbers(content):
    """All numbers in a JSON value, in order."""
    if isinstance(content, dict):
        return [number for value in content.values() for number in numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in numbers(value)]
    return [content] if isinstance(content, int | float) else []


@pytest.mark.parametrize("launcher", ["no-such-program -n 2", " ", "'"])
def test_a_launcher_that_is_not_there_is_refused(tmp_path, launcher):
    small.params(tmp_path, hosts={"launcher": launcher})
    code, said = small.run(tmp_path, small.command("train_vae"))
    assert code == 2
    assert said.startswith("error: params.yaml: hosts.launcher: found ")
    assert said.count("\n") == 1


def test_a_launcher_that_joins_nothing_is_refused(trained, tmp_path):
    folder = small.copy(trained, tmp_path / "project", without="evolve")
    small.params(folder, hosts={"launcher": "env"})
    code, said = small.run(folder, small.command("evolve"))
    assert code == 2
    assert said.startswith("error: params.yaml: hosts.launcher: found 'env', expected srun or mpirun")
