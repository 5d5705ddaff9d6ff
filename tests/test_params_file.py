"""params.yaml: its text, its profiles, its schema, and the refusal of mistakes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from wm.errors import BadInput
from wm.params import file, profiles, schema
from wm.params.check import check
from wm.params.evolve import Evolve
from wm.params.model import Params
from wm.params.rounds import ancestry
from wm.runtime import startup

ROOT = Path(__file__).parents[1]
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


@pytest.fixture
def params():
    return YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")


def test_params_yaml_is_the_default_profile_with_the_descriptions_as_comments(params):
    text = schema.rendered(params)
    assert (ROOT / "params.yaml").read_text() == text
    assert (ROOT / "profiles" / "default.yaml").read_text() == text


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_valid_and_rendered_without_loss(monkeypatch, name):
    monkeypatch.chdir(ROOT)
    content = profiles.content(name)
    check(content)
    assert YAML(typ="safe").load(schema.rendered(content)) == content


def test_any_value_is_rendered_without_loss(params):
    launcher = "srun --nodes 2, 'a': #b {c} [d]: \"e\" \\ é"
    params["hosts"]["launcher"] = launcher
    params["train_vae"]["learning_rate"] = 1e-7
    params["process"]["min_score"] = {}
    assert YAML(typ="safe").load(schema.rendered(params)) == params


def test_dvc_changes_one_line_and_keeps_the_comments(tmp_path, params):
    """`dvc exp run -S evolve.temperature=1.3 -S '+rounds.r5={prev: r4}'` writes with this function."""
    path = tmp_path / "params.yaml"
    path.write_text(schema.rendered(params))
    before = path.read_text().splitlines()
    with modify_yaml(str(path)) as content:
        content["evolve"]["temperature"] = 1.3
        content["rounds"]["r5"] = {"prev": "r4"}
    after = path.read_text().splitlines()
    changed = [line for line in before if line not in after]
    assert changed == ["  temperature: 1.0"]
    comments = [line for line in before if line.lstrip().startswith("#")]
    assert [line for line in after if line.lstrip().startswith("#")] == comments
    assert check(file.read(path)).evolve.temperature == 1.3


@pytest.mark.parametrize("name", PROFILES)
def test_dvc_sets_a_parameter_and_sets_it_back_to_the_same_bytes(tmp_path, name):
    content = profiles.content(name)
    content["fidelity"]["noise_scales"] = [0.5 + i / 100 for i in range(40)]  # several lines
    content["hosts"]["launcher"] = "srun " + "--nodes 2 " * 20
    path = tmp_path / "params.yaml"
    path.write_text(schema.rendered(content))
    before = path.read_text()
    steps = content["train_vae"]["steps"]
    for value in (steps + 1, steps):
        with modify_yaml(str(path)) as params:
            params["train_vae"]["steps"] = value
        changed = set(before.splitlines()) ^ set(path.read_text().splitlines())
        assert changed == ({f"  steps: {steps}", f"  steps: {value}"} if value != steps else set())
    assert path.read_text() == before
    assert YAML(typ="safe").load(before) == content


def described(document, part, place=""):
    """Every property of a schema with its description."""
    part = document["$defs"][part["$ref"].split("/")[-1]] if "$ref" in part else part
    inner = part.get("additionalProperties")
    if isinstance(inner, dict):
        yield from described(document, inner, f"{place}*.")
    for name, entry in part.get("properties", {}).items():
        target = document["$defs"][entry["$ref"].split("/")[-1]] if "$ref" in entry else {}
        yield f"{place}{name}", entry.get("description") or target.get("description", "")
        yield from described(document, entry, f"{place}{name}.")


def test_the_schema_describes_every_parameter():
    document = schema.schema()
    descriptions = dict(described(document, document))
    assert [name for name, text in descriptions.items() if len(text) < 5] == []
    assert descriptions["evolve.off_track_share.refine"]
    assert len(descriptions) > 100


def renames():
    """Every former name of a parameter, as a path, and its name today."""

    def within(model, path):
        for old, new in getattr(model, "renamed", {}).items():
            yield path, old, new
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from within(field.annotation, [*path, name])

    return list(within(Params, []))


RENAMES = renames()


def test_all_renamed_parameters_are_known():
    assert len(RENAMES) == 20
    for path, old, new in RENAMES:
        model: Any = Params
        for name in path:
            model = model.model_fields[name].annotation
        assert new in model.model_fields
        assert old not in model.model_fields


@pytest.mark.parametrize(("path", "old", "new"), RENAMES, ids=lambda part: str(part))
def test_a_former_name_is_refused_with_the_new_one(params, path, old, new):
    section = params
    for name in path:
        section = section[name]
    section[old] = section.pop(new)
    with pytest.raises(BadInput, match=f"{'.'.join([*path, old])}: has a new name: {new}$"):
        check(params)


WRONG = {
    "typo": (lambda p: p["evolve"].update(temprature=1.0), r"evolve.temprature"),
    "missing": (lambda p: p["evolve"].pop("temperature"), r"evolve.temperature"),
    "wrong type": (lambda p: p["process"].update(mirror="yes"), r"process.mirror.*'yes'"),
    "out of range": (lambda p: p["train_rnn"].update(dropout=1.0), r"train_rnn.dropout.*1.0"),
    "not a number": (lambda p: p["evolve"].update(temperature=float("nan")), r"evolve.temperature"),
    "section": (lambda p: p.pop("explore"), r"explore: is missing"),
    "strange section": (lambda p: p.update(extra={}), r"extra: unknown name, expected one of environment"),
    "driver": (lambda p: p["collect"].update(ghost={"seed": 1, "episodes": 1}), r"'ghost', expected one of"),
    "missing prev": (lambda p: p["rounds"]["r1"].update(prev="r9"), r"rounds.r1.prev: found 'r9'"),
    "circular prev": (
        lambda p: p["rounds"]["r0"].update(prev="r1"),
        r"rounds.r0.prev: found 'r1', which itself follows r0; expected init",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_params_are_one_line_with_the_place(params, case):
    spoil, message = WRONG[case]
    spoil(params)
    with pytest.raises(BadInput, match=message) as caught:
        check(params)
    assert "\n" not in str(caught.value)


def test_a_stage_ends_with_2_and_one_line_before_any_work(tmp_path, params):
    params["collect"]["erratic"]["episodes"] = 0
    YAML(typ="safe").dump(params, tmp_path / "params.yaml")
    command = [sys.executable, "-m", "stages", "collect", "erratic"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: params.yaml: collect.erratic.episodes")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_duplicate_names_are_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(BadInput, match="line 2"):
        file.read(tmp_path / "params.yaml")


def test_a_round_has_the_dream_steps_of_all_its_searches(params):
    size = {"generations": 10, "population": 4}
    changes = {
        "from_scratch_rounds": 1,
        "search": size,
        "refine": size | {"generations": 5},
        "off_track_share": {"search": [0.5], "refine": [0.1, 0.5]},
        "ascent": {"updates": {"from_zero": 3, "refine": 6}, "dreams": 7, "horizon_steps": 8},
        "rollouts": 3,
        "horizon_steps": 2,
    }
    evolve = Evolve.model_validate(profiles.merged(params["evolve"], changes))
    expected = [10 * 4 * 3 * 2 + 9 * 7 * 8, 2 * (5 * 4 * 3 * 2 + 6 * 7 * 8)]
    assert [evolve.dream_steps(number) for number in (0, 1)] == expected


def test_rounds_are_numbered_along_prev():
    rounds = {"first": "init", "b": "first", "c": "b"}
    assert ancestry("c", rounds) == ["first", "b", "c"]


STAGE = """
import importlib, os, sys, types

def main(params, *rounds):
    import jax
    from jax._src import xla_bridge

    assert not xla_bridge.backends_are_initialized()
    product = jax.jit(lambda x: x @ x).lower(jax.numpy.ones((256, 256))).compile()
    print("ynn" in product.as_text(), os.environ.get("XLA_FLAGS"))

name = sys.argv[1]
sys.modules[f"stages.{name}"] = types.SimpleNamespace(main=main)
from stages.__main__ import run_stage
run_stage(*sys.argv[1:])
"""


def in_a_stage(folder, params, name, **variables):
    """Whether XLA uses YNNPACK in the stage, and the words of XLA_FLAGS."""
    YAML(typ="safe").dump(params, folder / "params.yaml")
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    rounds = ["r0", "init"] if name in ("train_rnn", "evolve") else []
    command = [sys.executable, "-c", STAGE, name, *rounds]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    ynnpack, *flags = ended.stdout.split()
    return ynnpack == "True", flags


@pytest.mark.parametrize("deterministic", [False, True])
def test_xla_flags_are_set_before_xla_reads_them(tmp_path, params, deterministic):
    params["gpu"]["deterministic"] = deterministic
    flags = "--xla_cpu_multi_thread_eigen=true"
    expected = [flags, "--xla_gpu_deterministic_ops=true"][: 1 + deterministic]
    assert in_a_stage(tmp_path, params, "rank", XLA_FLAGS=flags)[1] == expected


@pytest.mark.parametrize("name", ["train_vae", "encode", "train_rnn", "evolve"])
def test_ynnpack_computes_products_but_no_convolutions(tmp_path, params, name):
    ynnpack, _ = in_a_stage(tmp_path, params, name, XLA_FLAGS="")
    assert ynnpack == (name in ("train_rnn", "evolve"))


def test_the_users_flags_override_those_of_a_stage(tmp_path, params):
    flag = f"{startup.NO_YNNPACK}dot"
    assert in_a_stage(tmp_path, params, "encode", XLA_FLAGS=flag) == (True, [startup.NO_YNNPACK, flag])
