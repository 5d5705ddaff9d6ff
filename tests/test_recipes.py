"""The recipes of CONTRIBUTING.md, followed literally in a copy of the project."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from short_drives import short_drive

from wm.data.shards import Shards, Writer
from wm.runtime import files

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(tmp_path):
    """A copy of the code and the parameters."""
    for name in ("wm", "stages", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def recipe(heading):
    """The code blocks of a section: (language, text)."""
    section = RECIPES.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return BLOCK.findall(section)


def apply(diff, folder):
    """Edits files as a block says: `--- file` replaces lines, `+++ file` appends to it or creates it."""
    for sign, name, body in re.findall(
        r"^(---|\+\+\+) (\S+)\n((?:[ +-].*\n|\n)*?)(?=---|\+\+\+ |\Z)", diff, re.MULTILINE
    ):
        path, lines = folder / name, body.splitlines()
        assert all(line[:1] in " +-" for line in lines)
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
        if sign == "+++":
            path.write_text((path.read_text() if path.exists() else "") + after)
            continue
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
        text = path.read_text()
        assert text.count(before) == 1, f"{name} has {text.count(before)} places like\n{before}"
        path.write_text(text.replace(before, after))


def run(command, folder):
    """What a command of the document prints; `uv run` is left out, since the tests run in its environment."""
    words = shlex.split(command.removeprefix("uv run "))
    words = {"wm": [sys.executable, "-m", "wm.cli"], "python": [sys.executable]}[words[0]] + words[1:]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def follow(heading, folder, before_last=lambda: None):
    """Follows a recipe to its end. `before_last` is called before the last command."""
    blocks = recipe(heading)
    for language, text in blocks:
        if language == "diff":
            apply(text, folder)
    commands = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    assert commands
    for command in commands[:-1]:
        run(command, folder)
    before_last()
    return run(commands[-1], folder)


def change(path, *place, value):
    """Sets one parameter."""
    content = YAML(typ="safe").load(path)
    section = content
    for name in place[:-1]:
        section = section[name]
    section[place[-1]] = value
    YAML(typ="safe").dump(content, path)


def stages(folder):
    return YAML(typ="safe").load(folder / "dvc.yaml")["stages"]


def test_a_driver(project):
    params = project / "params.yaml"
    follow("Add a driver", project, lambda: change(params, "collect", "straight", "episodes", value=2))
    drives = Shards(project / "data/raw/straight")
    assert [record.source for record in drives.records] == ["straight", "straight"]
    actions = drives.read(drives.records[0]).actions
    assert (actions[:, 0] == 0).all()
    assert 0.1 <= actions[0, 1] <= 0.6
    pipeline = stages(project)
    drivers = YAML(typ="safe").load(params)["collect"]
    assert set(pipeline["collect"]["foreach"]) == set(drivers)
    assert {f"data/raw/{name}" for name in drivers} <= set(pipeline["process"]["deps"])
    assert "wm/track/straight.py" in pipeline["collect"]["do"]["deps"]


def test_a_parameter(project):
    follow("Add a parameter", project)
    text = (project / "params.yaml").read_text()
    description = "true: the agent sees latents sampled from the encoder's distribution"
    assert f"  # {description}\n  sampled: false\n" in text
    schema = json.loads(run("uv run wm schema", project))
    assert schema["$defs"]["Evaluate"]["properties"]["sampled"]["description"] == description
    assert evaluated(project, sampled=False) != evaluated(project, sampled=True)


def evaluated(project, sampled):
    """The score of the published agent's drive, as the stage evaluates it."""
    change(project / "params.yaml", "evaluate", "sampled", value=sampled)
    change(project / "params.yaml", "evaluate", "episodes", value=1)
    change(project / "params.yaml", "compute", "workers", value=1)
    for path in (ROOT / "models/pretrained").glob("*.eqx"):
        for folder in ("models", "models/rounds/r0"):
            (project / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, project / folder / path.name)
    files.write_json(project / "metrics/ranks.json", {"chosen": "r0"})
    run("uv run python -m stages evaluate", project)
    return json.loads((project / "metrics/real.json").read_text())["score"]["mean"]


def test_a_stage(project):
    with files.replacing(project / "data/processed/init") as folder:
        writer = Writer(folder, "init")
        for seed, source in enumerate(["erratic", "erratic", "lane_follower"]):
            writer.write(short_drive(seed, source))
        writer.finish()
    follow("Add a stage", project)
    assert json.loads((project / "metrics/census.json").read_text()) == {"erratic": 2, "lane_follower": 1}
    deps = stages(project)["census"]["deps"]
    assert {"data/processed/init", "stages/census.py", "wm/data", "wm/runtime/files.py"} <= set(deps)


def test_dvc_knows_the_new_stages(project):
    for heading in ("Add a driver", "Add a stage"):
        for language, text in recipe(heading):
            if language == "diff":
                apply(text, project)
    for words in (["init", "--no-scm", "-q"], ["stage", "list", "--name-only"]):
        command = [sys.executable, "-m", "dvc", *words]
        listed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    assert {"collect@straight", "census"} <= set(listed.split())
