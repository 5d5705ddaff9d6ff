"""Jobs of SLURM, whose programs are stood in for: `sbatch` runs the job's script on this machine at once."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from stages import collect
from wm.errors import BadInput, Halted
from wm.params.environment import Environment
from wm.runtime import workers
from wm.runtime.workers import Compute

PROGRAMS = {
    "sbatch": """
        import os, subprocess, sys
        from pathlib import Path

        number = 1 + len(list(here.glob("*.pid")))
        text = Path(sys.argv[1]).read_text()
        log = next(line.split("=", 1)[1] for line in text.splitlines() if "--output=" in line)
        alone = {"NTASKS": "1", "JOB_NUM_NODES": "1", "NODEID": "0", "PROCID": "0", "LOCALID": "0"}
        job = {"JOB_ID": str(number), "JOB_NODELIST": "localhost", **alone}
        with open(log.replace("%j", str(number)).strip('"'), "w") as file:
            process = subprocess.Popen(
                ["bash", sys.argv[1]],
                env=os.environ | {f"SLURM_{name}": value for name, value in job.items()},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        (here / f"{number}.pid").write_text(str(process.pid))
        print("Submitted batch job", number)
    """,
    "srun": """
        import os, sys

        words = sys.argv[1:]
        while words[0].startswith("-"):
            words = words[1 if "=" in words[0] or words[0] == "--unbuffered" else 2 :]
        os.execvp(words[0], words)
    """,
    "sacct": """
        print("JobID|State|NodeList")
        for pid in here.glob("*.pid"):
            print(f"{pid.stem}|{'RUNNING' if alive(pid) else 'FAILED'}|localhost")
    """,
    "scancel": """
        import os, signal, sys

        os.killpg(int((here / f"{sys.argv[1]}.pid").read_text()), signal.SIGKILL)
        (here / f"{sys.argv[1]}.cancelled").touch()
    """,
}
HEAD = """#!{python}
from pathlib import Path

here = Path({here!r})


def alive(pid):
    stat = Path("/proc", pid.read_text(), "stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of a SLURM that runs all jobs here, as many as there are."""
    for name, body in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(HEAD.format(python=sys.executable, here=str(tmp_path)) + textwrap.dedent(body))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here.parent}{os.pathsep}{here}")
    return tmp_path


def jobs(cluster):
    return sorted(cluster.glob("*.pid"))


def test_drives_are_the_same_as_at_home(cluster):
    tasks = [("erratic", Environment(action_repeat=4, warm_up_frames=50), seed) for seed in range(3)]
    found = []
    for scheduler in ("local", "slurm"):
        with workers.pool(Compute(scheduler=scheduler, workers=2)) as pool:
            found.append(list(workers.ordered(pool, collect.episode, tasks)))
    for home, away in zip(*found, strict=True):
        assert home.record == away.record
        assert home.actions.tobytes() == away.actions.tobytes()
        assert home.observations["frame"].tobytes() == away.observations["frame"].tobytes()
    assert len(jobs(cluster)) == len(tasks)
    assert not list((cluster / workers.JOBS).iterdir())


def test_no_more_than_so_many_jobs_wait_or_run(cluster):
    with workers.pool(Compute(scheduler="slurm", workers=2)) as pool:
        assert next(workers.ordered(pool, abs, [-1, -2, -3, -4, -5])) == 1
        assert len(jobs(cluster)) == 3  # one is done, and made room for another


def test_what_is_left_is_cancelled(cluster):
    with workers.pool(Compute(scheduler="slurm", workers=2)) as pool:
        next(workers.ordered(pool, time.sleep, [0, 60, 60]))
    assert {path.stem for path in cluster.glob("*.cancelled")} == {"2", "3"}


def fail(task):
    raise ValueError(f"found {task}, wanted a number")


def die(_):
    os._exit(3)


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (fail, (ValueError, "found a, wanted")),
        (die, (Halted, r"job 1 of SLURM came to nothing: see .*_log")),
    ],
)
def test_what_a_task_raises_comes_home_and_a_lost_job_names_its_log(cluster, monkeypatch, task, error):
    from submitit.slurm.slurm import SlurmJob

    monkeypatch.setattr(SlurmJob.watcher, "_delay_s", 1)
    with (
        pytest.raises(error[0], match=error[1]),
        workers.pool(Compute(scheduler="slurm", workers=1)) as pool,
    ):
        list(workers.ordered(pool, task, ["a"]))


def test_so_many_jobs_must_be_said(cluster):
    with (
        pytest.raises(BadInput, match=r"compute\.workers: found 0, wanted the number of jobs"),
        workers.pool(Compute(scheduler="slurm", workers=0)),
    ):
        pass


def test_a_machine_without_slurm_is_told_of_in_one_line():
    command = [sys.executable, "-m", "wm.cli", "evaluate", "--scheduler", "slurm", "--workers", "2"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    message = "compute.scheduler: found slurm, wanted a machine of a SLURM cluster: no sbatch is here"
    assert (ended.returncode, ended.stderr) == (2, f"error: {message}\n")
