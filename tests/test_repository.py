"""What others read: artifacts, the workflow of pull requests, the citation, the development container."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from dvc.cli import main
from dvc.repo import Repo
from ruamel.yaml import YAML

from bench.chaos import ENVIRONMENT

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = YAML(typ="safe").load(ROOT / ".github/workflows/metrics.yaml")
AGENT = ROOT / "models/pretrained"


def git(folder, *words):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A clone of the last commit, with the dvc.yaml of the working tree."""
    folder = tmp_path / "wm"
    git(tmp_path, "clone", "-q", str(ROOT), str(folder))
    (folder / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    git(folder, "commit", "--allow-empty", "-qam", "dvc.yaml")
    return folder


def test_the_artifacts_are_the_published_agent_and_its_models():
    artifacts = Repo(str(ROOT)).artifacts.read()["dvc.yaml"]
    paths = {name: artifact.path for name, artifact in artifacts.items()}
    models = {name: f"models/pretrained/{name}.eqx" for name in ("vae", "rnn", "controller")}
    assert paths == {"agent": "models/pretrained", **models}
    assert all(git(ROOT, "ls-files", path) for path in paths.values())
    for artifact in artifacts.values():
        assert artifact.type == "model"
        assert artifact.desc
        assert artifact.labels


@pytest.mark.parametrize("name", ["agent", "vae"])
def test_a_tagged_artifact_is_copied_from_git(checkout, tmp_path, monkeypatch, name):
    git(checkout, "tag", "-a", f"{name}@v1.0.0", "-m", name)  # DVC reads annotated tags alone
    monkeypatch.chdir(tmp_path)
    assert main(["-q", "artifacts", "get", str(checkout), name, "-o", "copy"]) == 0
    copy = tmp_path / "copy"
    assert (copy / "vae.eqx" if copy.is_dir() else copy).read_bytes() == (AGENT / "vae.eqx").read_bytes()


def test_the_workflow_compares_a_pull_request_with_its_base(checkout, tmp_path):
    base = git(checkout, "rev-parse", "HEAD")
    for name, old, new in (
        ("metrics/summary/score.json", '"real": ', '"real": 1'),
        ("params.yaml", "temperature: ", "temperature: 1"),
    ):
        text = (checkout / name).read_text()
        assert text.count(old) == 1
        (checkout / name).write_text(text.replace(old, new))
    git(checkout, "commit", "-qam", "change")
    variables = {
        "BASE": base,
        "HEAD": git(checkout, "rev-parse", "HEAD"),
        "FORK": "https://host/fork",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    (compare,) = [step for step in WORKFLOW["jobs"]["compare"]["steps"] if step.get("name") == "Compare"]
    shell = ["bash", "-e", "-o", "pipefail", "-c", compare["run"]]
    subprocess.run(shell, cwd=checkout, env=os.environ | ENVIRONMENT | variables, check=True)
    comment = (checkout / "comment.md").read_text()
    assert comment == (tmp_path / "summary").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in comment.splitlines()]
    assert ["score.json", "real"] in [[row[1].split("/")[-1], row[2]] for row in rows if len(row) > 3]
    assert "evolve.temperature" in [row[2] for row in rows if len(row) > 3]
    for picture in ("rounds", "reconstructions", "drive"):
        assert f"(https://host/fork/blob/{variables['HEAD']}/metrics/{picture}.png?raw=true)" in comment
        assert git(ROOT, "ls-files", f"metrics/{picture}.png")


def test_the_workflow_may_write_comments_and_nothing_else():
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "pull_request" in WORKFLOW["on"]  # not pull_request_target, whose token works on foreign code
    assert {job.get("permissions") for job in WORKFLOW["jobs"].values()} == {None}
    (pinned,) = [name for name in PROJECT["dependencies"] if name.startswith("dvc")]
    assert f'pip install "{pinned}"' in [step.get("run") for step in WORKFLOW["jobs"]["compare"]["steps"]]


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (str(citation["version"]), citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["authors"] == [{"name": "The contributors"}]
    assert [reference["title"] for reference in citation["references"]] == ["World Models"]


def test_the_container_has_the_python_of_the_project():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container["image"].endswith(f":{(ROOT / '.python-version').read_text().strip()}")
    assert container["postCreateCommand"].startswith("pip install uv && uv sync")
