"""Other machines, file systems and shells: the same bytes, or a one-line error."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import small

from wm.errors import Halted
from wm.runtime import files
from wm.viewer import film

STAGE = "collect erratic"
CORE = min(os.sched_getaffinity(0))

# each process that opens an internet socket writes its command line to a file
WATCH = """
import sys
def watch(event, arguments):
    if event == "socket.__new__" and int(arguments[1]) in (2, 10):
        with open({note!r}, "a") as file:
            file.write(repr(sys.argv))
sys.addaudithook(watch)
"""

pytestmark = pytest.mark.slow


def without_network(folder):
    """Variables that have every process note down sockets, and the note's path."""
    (folder / "watch").mkdir()
    note = folder / "sockets"
    (folder / "watch" / "sitecustomize.py").write_text(WATCH.format(note=str(note)))
    return {"PYTHONPATH": f"{folder / 'watch'}{os.pathsep}{small.ROOT}"}, note


def allowed(*words):
    """The words, if they let a command run here."""
    return [*words] if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else []


OTHERWISE = {
    "no display, no home": {
        "DISPLAY": None,
        "WAYLAND_DISPLAY": None,
        "SDL_VIDEODRIVER": None,
        "HOME": "/nowhere",
    },
    "C locale, asserts off": {"LC_ALL": "C", "LANG": None, "PYTHONOPTIMIZE": "1"},
    "Turkish locale, temporary files elsewhere": {"LC_ALL": "tr_TR.UTF-8", "TMPDIR": "/dev/shm"},
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_other_surroundings_same_bytes(project, tmp_path, case):
    small.params(tmp_path)
    code, said = small.run(tmp_path, small.command(STAGE), **OTHERWISE[case])
    assert code == 0, said
    assert small.checksums(tmp_path, STAGE) == small.checksums(project, STAGE)


def test_one_worker_same_bytes(project, tmp_path):
    small.params(tmp_path)
    code, said = small.run(tmp_path, ["taskset", "-c", str(CORE), *small.command(STAGE)])
    assert code == 0, said
    assert small.checksums(tmp_path, STAGE) == small.checksums(project, STAGE)


def test_a_path_with_spaces_and_other_letters_and_no_network(project, tmp_path):
    folder = tmp_path / "my prójects 日本 'x"
    folder.mkdir()
    small.params(folder)
    variables, note = without_network(tmp_path)
    words = [*allowed("unshare", "-rn"), *small.command(STAGE)]
    code, said = small.run(folder, words, LC_ALL="C", **variables)
    assert code == 0, said
    assert not note.exists()
    assert small.checksums(folder, STAGE) == small.checksums(project, STAGE)


def test_the_watch_notes_a_socket(tmp_path):
    variables, note = without_network(tmp_path)
    assert small.run(tmp_path, [sys.executable, "-c", "import socket; socket.socket()"], **variables)[0] == 0
    assert note.exists()


def test_evolution_has_the_same_bytes_with_all_of_it_at_once(project, tmp_path):
    """Four devices, asserts off, another locale, spaces, no network, and a file that CMA-ES would read."""
    folder = small.copy(project, tmp_path / "ein Pfad mit Wörtern", without="evolve")
    (folder / "cma_signals.in").write_text("{'maxiter': 1, 'timeout': 0}")
    variables, note = without_network(tmp_path)
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    words = [*allowed("unshare", "-rn"), *small.command("evolve")]
    code, said = small.run(
        folder, words, PYTHONOPTIMIZE="1", LC_ALL="C", XLA_FLAGS=flags, TMPDIR="/dev/shm", **variables
    )
    assert code == 0, said
    assert not note.exists()
    assert small.checksums(folder, "evolve") == small.checksums(project, "evolve")


def test_bad_input_is_found_with_asserts_off(tmp_path):
    small.params(tmp_path, collect={"erratic": {"episodes": 0}})
    code, said = small.run(tmp_path, small.command(STAGE), PYTHONOPTIMIZE="1")
    assert code == 2
    assert said.splitlines()[-1].startswith("error: params.yaml: collect.erratic.episodes")


def one_line(said):
    """The last line, which is an error's, and no traceback before it."""
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_a_limit_on_file_size_is_one_line_and_the_work_resumes_later(project, tmp_path):
    folder = small.copy(project, tmp_path, without="collect")
    limited = [
        "bash",
        "-c",
        'ulimit -f 512 && exec "$@"',
        "bash",
    ]  # kilobytes: room for 10 drives and not for 24
    code, said = small.run(folder, [*limited, *small.command("collect")])
    assert code == 1
    assert one_line(said) == "error: data/raw/lane_follower: File too large"
    assert small.checksums(folder, "collect") == {}
    assert not list(folder.glob("**/*.unfinished"))
    code, said = small.run(folder, small.command("collect"))
    assert code == 0, said
    assert "drives: resuming after 10 of 24" in said
    assert small.checksums(folder, "collect") == small.checksums(project, "collect")


def test_a_film_cut_short_by_a_full_disk_is_no_film(tmp_path):
    """The encoder itself reports no error."""
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (20, 64, 64, 3), np.uint8))
    film.write_video(tmp_path / "whole.webm", pictures, 12.5)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "whole.webm").stat().st_size // 2, limit[1]))
    try:
        with pytest.raises(Halted, match=r"cut.webm: only \d+ of 20 pictures could be written"):
            film.write_video(tmp_path / "cut.webm", pictures, 12.5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.webm"]


def test_a_full_disk_is_one_line(tmp_path):
    """A disk of 64 KB. Mounting one takes a user namespace, which some machines refuse."""
    if not allowed("unshare", "-rm", "sh", "-c", f"mount -t tmpfs none {tmp_path}"):
        pytest.skip("no right to mount a small disk; the limit on file sizes stands for it")
    small.params(tmp_path)
    mount = 'mkdir disk && mount -t tmpfs -o size=64k none disk && cp params.yaml disk && cd disk && "$@"'
    listed = 'code=$?; find . -name "*.unfinished" -o -name "*.parquet" | grep -v scratch >&2; exit $code'
    words = ["unshare", "-rm", "bash", "-c", f"{mount}; {listed}", "bash", *small.command(STAGE)]
    code, said = small.run(tmp_path, words)
    assert code == 1
    assert one_line(said) == "error: data/raw/erratic: No space left on device"


def test_a_read_only_output_is_one_line_before_any_drive(tmp_path):
    small.params(tmp_path)
    (tmp_path / "data").mkdir()
    words = small.command(STAGE)
    if os.geteuid() == 0:  # root ignores file modes
        words = ["unshare", "-m", "bash", "-c", 'mount -t tmpfs -o ro none data && exec "$@"', "bash", *words]
    else:
        (tmp_path / "data").chmod(0o555)
    code, said = small.run(tmp_path, words)
    (tmp_path / "data").chmod(0o755)
    assert code == 1
    told = ("error: data/raw: Read-only file system", "error: data/raw: Permission denied")
    assert said.strip() in told


def test_unfinished_output_lies_beside_its_final_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    with files.replacing(tmp_path / "a" / "b") as unfinished:
        unfinished.write_text("whole")
        assert unfinished.is_relative_to(tmp_path / "a")
        assert unfinished.stat().st_dev == tmp_path.stat().st_dev
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_no_file_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "work").write_text("of days")
    with pytest.raises(IsADirectoryError), files.replacing(tmp_path / "kept") as unfinished:
        unfinished.write_text("a page")
    assert (tmp_path / "kept" / "work").read_text() == "of days"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_another_process_put_there_meanwhile_is_replaced(tmp_path):
    with files.replacing(tmp_path / "x") as mine:
        mine.mkdir()
        (mine / "who").write_text("mine")
        files.write_json(tmp_path / "x" / "who", "other")
    assert (tmp_path / "x" / "who").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_no_assert_does_anything_that_would_be_missed():
    """With asserts off a call or an assignment inside of one would not happen."""
    import ast

    pure = {"isinstance", "len", "all", "any"}
    for path in [*(small.ROOT / "wm").rglob("*.py"), *(small.ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            inside = list(ast.walk(node.test)) if isinstance(node, ast.Assert) else []
            calls = [one.func for one in inside if isinstance(one, ast.Call)]
            assert all(isinstance(one, ast.Name) and one.id in pure for one in calls), path
            assert not any(isinstance(one, ast.NamedExpr) for one in inside), path
