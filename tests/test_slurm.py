"""SLURM jobs, with stand-ins for SLURM's programs: `sbatch` runs the job's script on this machine at once."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from stages import collect
from wm.errors import BadInput, Halted
from wm.runtime import slurm, workers
from wm.spec import Timing

PROGRAMS = {
    "sbatch": """
        import os, subprocess, sys
        from itertools import count
        from pathlib import Path

        for number in count(1):  # two jobs may be submitted at the same time
            try:
                (here / f"{number}.job").touch(exist_ok=False)
                break
            except FileExistsError:
                pass
        text = Path(sys.argv[1]).read_text()
        (here / f"{number}.script").write_text(text)
        log = next(line.split(" -o ")[1] for line in text.splitlines() if line.startswith("#SBATCH -o "))
        with open(log.replace("%J", str(number)), "w") as file:
            process = subprocess.Popen(
                ["bash", sys.argv[1]], stdout=file, stderr=file, start_new_session=True
            )
        (here / f"{number}.pid").write_text(str(process.pid))
        print("Submitted batch job", number)
    """,
    "scancel": """
        import os, signal, sys

        for number in sys.argv[1:]:
            (here / f"{number}.cancelled").touch()
            try:
                os.killpg(int((here / f"{number}.pid").read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass
    """,
}
HEAD = """#!{python}
from pathlib import Path

here = Path({here!r})
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of a SLURM cluster that runs all jobs on this machine at once."""
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
    return sorted(path.stem for path in cluster.glob("*.pid"))


def cancelled(cluster):
    return sorted(path.stem for path in cluster.glob("*.cancelled"))


def alive(cluster, job):
    stat = Path("/proc", (cluster / f"{job}.pid").read_text(), "stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_drives_are_the_same_as_on_this_machine_and_all_jobs_are_cancelled(cluster):
    tasks = [("erratic", Timing(action_repeat=40, warm_up_frames=50), seed) for seed in range(3)]
    episodes = []
    for scheduler in ("local", "slurm"):
        with workers.pool(scheduler, 2) as pool:
            episodes.append(list(workers.ordered(pool, collect.episode, tasks)))
    for here, there in zip(*episodes, strict=True):
        assert here.record == there.record
        assert here.actions.tobytes() == there.actions.tobytes()
        assert here.observations["frame"].tobytes() == there.observations["frame"].tobytes()
    assert jobs(cluster) == cancelled(cluster) == ["1", "2"]
    assert not [path for path in (cluster / slurm.LOGS).iterdir() if path.is_dir()]


def variables(names):
    return [os.environ.get(name) for name in names]


def test_jobs_have_one_thread_and_no_more_run_than_asked_for(cluster):
    with workers.pool("slurm", 2) as pool:
        values = list(workers.ordered(pool, variables, [["OMP_NUM_THREADS", "JAX_PLATFORMS"]] * 10))
        assert values == [["1", "cpu"]] * 10
        assert jobs(cluster) == ["1", "2"]
    script = (cluster / "1.script").read_text()
    assert "#SBATCH --cpus-per-task=1" in script
    assert "#SBATCH --mem=2G" in script
    assert " tls://" in script
    assert "--tls-cert" in script


def test_running_tasks_end_with_their_jobs(cluster):
    began = time.monotonic()
    with workers.pool("slurm", 2) as pool:
        next(workers.ordered(pool, time.sleep, [0, 600, 600]))
    assert time.monotonic() - began < 300
    assert not any(alive(cluster, job) for job in jobs(cluster))


def process(_):
    time.sleep(0.5)
    return os.getpid()


def test_a_lost_job_is_replaced_and_its_tasks_run_again(cluster):
    with workers.pool("slurm", 1) as pool:
        running = workers.ordered(pool, process, range(12))
        first = next(running)
        subprocess.run([cluster / "scancel", "1"], check=True)
        rest = list(running)
    assert len(rest) == 11
    assert rest[-1] != first
    assert jobs(cluster) == ["1", "2"]


def fail(task):
    raise ValueError(f"found {task}, expected a number")


def die(_):
    os._exit(3)


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (fail, (ValueError, "found a, expected a number")),
        (die, (Halted, r"a task ended 4 workers: see the logs of the jobs in .*slurm")),
    ],
)
def test_an_error_of_a_task_comes_back_and_a_lost_task_names_the_logs(cluster, task, error):
    with pytest.raises(error[0], match=error[1]), workers.pool("slurm", 1) as pool:
        list(workers.ordered(pool, task, ["a"]))
    assert list(cluster.glob(f"{slurm.LOGS}/*/*.out"))


def test_the_number_of_jobs_is_needed(cluster):
    with (
        pytest.raises(BadInput, match=r"compute\.workers: found 0, expected the number of concurrent"),
        workers.pool("slurm"),
    ):
        pass


def test_a_machine_without_slurm_is_refused_in_one_line():
    command = [sys.executable, "-m", "wm.cli", "evaluate", "--scheduler", "slurm", "--workers", "2"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    message = "compute.scheduler: found slurm, expected a machine of a SLURM cluster: sbatch is not installed"
    assert (ended.returncode, ended.stderr) == (2, f"error: {message}\n")
