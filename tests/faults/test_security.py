"""All tracked Python is searched for code that executes data."""

import ast
import io
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from wm.errors import BadInput
from wm.models.controller import Controller
from wm.params.file import parsed
from wm.params.rounds import NAME
from wm.runtime import model_file, model_header

ROOT = Path(__file__).parents[2]
THIS = Path(__file__).resolve()

CODE_IN_DATA = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "yaml"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_COMMANDS = {
    ("os", "system"),
    ("os", "popen"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
}


def keyword(call, name):
    """The value given by name: a constant, ... for anything else, None where it is not given."""
    for one in call.keywords:
        if one.arg == name:
            return one.value.value if isinstance(one.value, ast.Constant) else ...
    return None


def sins(code):
    """What in the code could run data as code, with its line."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in CODE_IN_DATA:
                    yield node.lineno, f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in CODE_IN_DATA:
            yield node.lineno, f"from {node.module}"
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, sin) for sin in called(node))


def called(call):
    function, owner = call.func, None
    if isinstance(function, ast.Attribute):
        owner, name = getattr(function.value, "id", None), function.attr
    else:
        name = getattr(function, "id", None)
        if name in RUNS_TEXT:
            yield f"{name}()"
    if (owner, name) in RUNS_COMMANDS:
        yield f"{owner}.{name}()"
    if keyword(call, "shell") not in (None, False):
        yield "shell"
    if keyword(call, "allow_pickle") not in (None, False):
        yield "allow_pickle"
    if name == "load" and owner in ("torch", "yaml"):
        yield f"{owner}.load()"
    if name == "load" and owner in ("np", "numpy", "jnp") and keyword(call, "allow_pickle") is not False:
        yield f"{owner}.load() without allow_pickle=False"
    if name == "YAML" and keyword(call, "typ") not in (None, "safe", "rt"):
        yield "YAML() of a type that makes objects"


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists() and (ROOT / name).resolve() != THIS]


def test_no_tracked_python_runs_what_it_reads():
    paths = tracked()
    assert {ROOT / "wm/runtime/model_file.py", ROOT / "stages/collect.py", ROOT / "bench/chaos.py"} <= set(
        paths
    )
    found = [
        f"{path.relative_to(ROOT)}:{line}: {sin}" for path in paths for line, sin in sins(path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import numpy, pickle as p",
        "from pickle import loads",
        "def f():\n    import cloudpickle.cloudpickle",
        "import yaml",
        "yaml.load(text)",
        "torch.load(path)",
        "eval('1')",
        "exec(open(path).read())",
        "compile(text, path, 'exec')",
        "os.system('ls')",
        "subprocess.run(words, shell=True)",
        "subprocess.run(words, shell=shell)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "YAML(typ='unsafe')",
        "YAML(typ=kind)",
    ],
)
def test_the_search_finds_dangerous_code(code):
    assert len(list(sins(code))) >= 1


@pytest.mark.parametrize(
    "code",
    [
        "YAML(typ='safe').load(p)",
        "YAML().load(p)",
        "np.load(p, allow_pickle=False)",
        "subprocess.run(w, shell=False)",
    ],
)
def test_the_search_accepts_harmless_code(code):
    assert not list(sins(code))


class Bomb:
    def __reduce__(self):
        return (Path("exploded").write_text, ("boom",))


def test_a_pickle_inside_a_model_file_stays_one(tmp_path, monkeypatch):
    """An array of objects, which NumPy stores as a pickle, in place of the weights, all checksums right."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "controller.eqx"
    model_file.save(path, Controller(features=1))
    first = path.read_bytes().split(b"\n", 1)[0]
    payload = io.BytesIO()
    np.save(payload, np.array([Bomb()], object), allow_pickle=True)
    old = model_header.checksum(path.read_bytes().split(b"\n", 1)[1])
    header = first.replace(old.encode(), model_header.checksum(payload.getvalue()).encode())
    path.write_bytes(header + b"\n" + payload.getvalue())
    with pytest.raises(model_header.BadModelFile, match="expected an array of float32"):
        model_file.load(path, Controller)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(model_header.BadModelFile, match="not a JSON header"):
        model_file.load(path, Controller)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir [exploded]", "!!python/name:os.mkdir", "!x {}"]
)
def test_params_yaml_constructs_no_objects(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="line 1: could not determine a constructor"):
        parsed(f"rank: {tag}".encode(), "params.yaml")
    assert not Path("exploded").exists()


def test_a_round_name_that_a_shell_would_run_never_passes():
    """dvc.yaml inserts these names into its commands."""
    for character in " \t\n;&|<>$`\"'\\*?[](){}!#~=%^.,/:@+":
        assert not NAME.fullmatch(f"r{character}0")
    for name in ("", "-r", "_r", "0", "0r", "r\n", "ré", "r" * 41):
        assert not NAME.fullmatch(name)
    for name in ("r0", "r10", "wide-net", "A_b-3", "r" * 40):
        assert NAME.fullmatch(name)
