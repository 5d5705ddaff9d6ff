"""Mistakes in params.yaml: every stage and `wm validate` report them in one line, before any work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.__main__ import run_stage
from wm.params import check, file
from wm.params.file import PARAMS
from wm.params.schema import schema
from wm.runtime import run

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py") if path.stem != "deps")


def commands():
    """The stages' modules and command lines in the first round, as dvc.yaml has them."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    for stage in stages:
        words = stage.get("do", stage)["cmd"]
        for name, value in {"${item}": "erratic", "${key}": "r0", "${item.prev}": "init"}.items():
            words = words.replace(name, value)
        python, _, _, name, *arguments = words.split()
        assert python == "python"
        yield name, arguments


COMMANDS = list(commands())


@pytest.fixture
def params():
    return YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(content):
    if isinstance(content, bytes):
        PARAMS.write_bytes(content)
    else:
        YAML(typ="safe").dump(content, PARAMS)


def refused(capsys, command, *arguments):
    """The line that a command prints when it ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        command(*arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def validate():
    run.run(file.load)


def set_in(section, **changes):
    """What changes a section, given as a path with dots."""

    def change(params):
        for name in section.split("."):
            params = params[name]
        params.update(changes)

    return change


WRONG = {
    # case: a change of the parameters, and a part of the message
    "typo": (
        set_in("evolve", temprature=1.0),
        "evolve.temprature: unknown name. Did you mean temperature?",
    ),
    "typo in place of a name": (
        lambda p: p["evolve"].update(temprature=p["evolve"].pop("temperature")),
        "evolve.temprature: unknown name. Did you mean temperature?",
    ),
    "typo deep down": (
        set_in("evolve.search", sigma=1),
        "evolve.search.sigma: unknown name. Did you mean sigma0?",
    ),
    "typo of a driver": (
        set_in("collect.erratic", sed=1),
        "collect.erratic.sed: unknown name. Did you mean seed?",
    ),
    "removed": (set_in("evolve", warm_start=True), "evolve.warm_start: was removed"),
    "several mistakes": (
        lambda p: p["evolve"].update(temprature=p["evolve"].pop("temperature"), seed=None, limits=[]),
        "evolve.limits: has a new name: action_limits (and 2 more mistakes)",
    ),
    "a name like no other": (
        set_in("evolve", foo=1),
        "evolve.foo: unknown name, expected one of seed, from_scratch_rounds, search, refine, ascent, "
        "rollouts, ... (27 names)",
    ),
    "unknown section": (
        lambda p: p.update(evolv={}),
        "evolv: unknown name. Did you mean evolve?",
    ),
    "section missing": (lambda p: p.pop("rank"), "rank: is missing"),
    "round that follows itself by two others": (
        set_in("rounds.r1", prev="r3"),
        "rounds.r1.prev: found 'r3', which itself follows r1; expected init or a round that does not",
    ),
    "section empty": (
        lambda p: p.update(rank=None),
        "rank: found nothing, expected names with values",
    ),
    "parameter missing": (
        lambda p: p["rank"].pop("dreams_per_controller"),
        "rank.dreams_per_controller: is missing",
    ),
    "a word for a number": (
        set_in("rank", dreams_per_controller="100"),
        "rank.dreams_per_controller: found '100', expected a whole number",
    ),
    "a number for a word": (
        set_in("evolve", sampling=1),
        "evolve.sampling: found 1, expected 'sampled', 'mode', 'mean' or 'denoised'",
    ),
    "a fraction of a track": (
        set_in("evaluate", episodes=1.5),
        "evaluate.episodes: found 1.5, expected a whole number",
    ),
    "yes for true": (
        set_in("process", mirror="yes"),
        "process.mirror: found 'yes', expected true or false",
    ),
    "true for one": (set_in("rank", seed=True), "rank.seed: found True, expected a whole number"),
    "none": (
        set_in("explore", action_noise=None),
        "explore.action_noise: found nothing, expected a number",
    ),
    "no drives": (
        set_in("evaluate", episodes=0),
        "evaluate.episodes: found 0, expected a number above 0",
    ),
    "negative seed": (
        set_in("evaluate", seed=-1),
        "evaluate.seed: found -1, expected a number of at least 0",
    ),
    "huge seed": (
        set_in("evaluate", seed=2**31),
        "evaluate.seed: found 2147483648, expected a whole number of at most 2147483647",
    ),
    "dropout of one": (
        set_in("train_rnn", dropout=1.0),
        "train_rnn.dropout: found 1.0, expected a number below 1",
    ),
    "NaN": (
        set_in("evolve", temperature=float("nan")),
        "evolve.temperature: found nan, expected a finite number",
    ),
    "infinity": (
        set_in("train_vae", learning_rate=float("inf")),
        "train_vae.learning_rate: found inf, expected a finite number",
    ),
    "all tracks set aside": (
        set_in("process", validation_share=1.0),
        "process.validation_share: found 1.0, expected a number below 1",
    ),
    "share below nothing": (
        set_in("process", validation_share=-0.1),
        "process.validation_share: found -0.1, expected a number of at least 0",
    ),
    "none left to train on": (
        lambda p: p.update(
            collect={"erratic": {"seed": 1, "episodes": 1}}, process=p["process"] | {"min_score": {}}
        ),
        "process.validation_share: found 0.1, expected a share that leaves at least one of the drivers' 1",
    ),
    "tones that fall": (
        set_in("train_vae", tone_curve=[[0, 0], [90, 60], [80, 130], [255, 255]]),
        "expected points that rise from [0, 0] to [255, 255]",
    ),
    "a tone of three values": (
        set_in("train_vae", tone_curve=[[0, 0, 0], [255, 255]]),
        "train_vae.tone_curve.0: ",
    ),
    "a share given twice": (
        set_in("evolve", off_track_share={"search": [0.5, 0.5], "refine": [0.1]}),
        "evolve.off_track_share.search: found [0.5, 0.5], expected distinct numbers",
    ),
    "a latest start before the earliest": (
        set_in("evolve", off_track_lead=[100, -40]),
        "evolve.off_track_lead: found [100, -40], expected [fewest, most], the first number smaller",
    ),
    "the same noise twice": (
        set_in("fidelity", noise_scales=[0.5, 1.0, 0.5]),
        "fidelity.noise_scales: found [0.5, 1.0, 0.5], expected distinct numbers",
    ),
    "no widths": (set_in("train_vae", widths=[]), "train_vae.widths: found [], expected at least 1 of them"),
    "seven widths": (
        set_in("train_vae", widths=[4] * 7),
        "train_vae.widths: found [4, 4, 4, 4, 4, 4, ...], expected at most 6 of them",
    ),
    "warm-up of a whole drive": (
        set_in("environment", warm_up_frames=1000),
        "environment.warm_up_frames: found 1000, expected a number below 1000",
    ),
    "unknown driver": (
        set_in("collect", ghost={"seed": 1, "episodes": 1}),
        "collect.ghost: found 'ghost', expected on",
    ),
    "no rounds": (lambda p: p.update(rounds={}), "rounds: found {}, expected at least 1 of them"),
    "round 0": (
        set_in("rounds", **{"0": {"prev": "init"}}),
        "rounds.0: found '0', expected a letter, followed",
    ),
    "round the number 0": (
        lambda p: p["rounds"].update({0: {"prev": "init"}}),
        "rounds.0: found 0, expected a text",
    ),
    "round of a shell": (
        set_in("rounds", **{"r0; rm -rf x": {"prev": "r0"}}),
        "found 'r0; rm -rf x', expected a letter",
    ),
    "round elsewhere": (
        set_in("rounds", **{"../x": {"prev": "r0"}}),
        "rounds.../x: found '../x', expected a letter",
    ),
    "round of two lines": (
        set_in("rounds", **{"a\nb": {"prev": "r0"}}),
        r"rounds.a\nb: found 'a\nb', expected a lett",
    ),
    "round named init": (
        set_in("rounds", init={"prev": "r0"}),
        "rounds.init: found 'init', expected a name other than",
    ),
    "round over the published": (
        set_in("rounds", pretrained={"prev": "r0"}),
        "expected a name other than erratic, ini",
    ),
    "round over a driver": (
        set_in("rounds", erratic={"prev": "r0"}),
        "rounds.erratic: found 'erratic', expected a name o",
    ),
    "prev of no round": (
        set_in("rounds.r1", prev="r9"),
        "rounds.r1.prev: found 'r9', expected one of init",
    ),
    "prev in a circle": (
        set_in("rounds.r0", prev="r1"),
        "rounds.r0.prev: found 'r1', which itself follows r0; expected init or a round",
    ),
    "prev missing": (lambda p: p["rounds"].update(r1={}), "rounds.r1.prev: is missing"),
    "filter of an unknown source": (
        set_in("process", min_score={"ghost": 1.0}),
        "process.min_score: found 'ghost', expected one ",
    ),
    "more components than z and h": (
        set_in("evolve", principal_components=289),
        "evolve.principal_components: found 289, expected at most 288 (train_vae.latent_size + ",
    ),
    "more components than starts": (
        set_in("evolve", start_episodes=1),
        "evolve.principal_components: found 64, expected at most 16",
    ),
    "more rollouts than starts": (
        set_in("evolve", rollouts=16385),
        "evolve.rollouts: found 16385, expected at most 16384",
    ),
    "a dream longer than a drive": (
        set_in("evolve", horizon_steps=476),
        "evolve.horizon_steps: found 476, expected at most 475",
    ),
    "a value longer than a drive": (
        set_in("evolve", value_steps=475),
        "evolve.value_steps: found 475, expected at most 474",
    ),
    "a plan longer than a drive": (
        set_in("fidelity", plan_steps=475),
        "fidelity.plan_steps: found 475, expected at most 474",
    ),
    "fewer than two drives by the agent itself": (
        set_in("explore", episodes=3),
        "explore.episodes: found 3, expected at least 4",
    ),
    "a window longer than a plan": (
        set_in("fidelity", window_steps=121),
        "fidelity.window_steps: found 121, expected at most 120",
    ),
    "a search that widens": (
        set_in("evolve.search", final_std=0.4),
        "evolve.search.final_std: found 0.4, expected at most 0.1",
    ),
    "a refinement that widens": (
        set_in("evolve.refine", final_std=0.4),
        "evolve.refine.final_std: found 0.4, expected at most 0.1",
    ),
    "idle simulators": (
        set_in("initialise", simulators=33),
        "evolve.rollouts: found 24, expected at least 34, one for each RNN (1 + initialise.simulators)",
    ),
    "too few scored dreams": (
        set_in("evolve", score_episodes=1),
        "evolve.score_episodes: found 1, expected at",
    ),
    "too few plans": (
        set_in("fidelity", plans=1),
        "fidelity.plans: found 1, expected at least 2",
    ),
    "too few dreams to rank by": (
        set_in("rank", dreams_per_controller=5),
        "rank.dreams_per_controller: found 5, expected at least 6, one for each RNN"
        " (1 + initialise.simulators) of the last 3 rounds",
    ),
    "a launcher with an open quote": (
        set_in("hosts", launcher='srun "'),
        "hosts.launcher: found 'srun \"', expected an installed command",
    ),
    "limits without brake": (
        lambda p: p["evolve"]["action_limits"].pop("brake"),
        "evolve.action_limits.brake: is missing",
    ),
    "limits of a horn": (
        set_in("evolve.action_limits", horn=[0.0, 1.0]),
        "evolve.action_limits.horn: unknown name, expected one of steer",
    ),
    "limits the wrong way round": (
        set_in("evolve.action_limits", gas=[1.0, 0.0]),
        "evolve.action_limits.gas: found [1.0, 0.0], expected [lowest, highest] within [0.0, 1.0]",
    ),
    "limits out of the car": (
        set_in("evolve.action_limits", steering=[-2.0, 1.0]),
        "expected [lowest, highest] within [-1.0",
    ),
    "limits of three": (
        set_in("evolve.action_limits", gas=[0.0, 0.5, 1.0]),
        "evolve.action_limits.gas: found [0.0, 0.5, 1.0], expected at most 2 of them",
    ),
    "evaluation on a driver's track": (
        set_in("evaluate", seed=100_149),
        "evaluate: tracks: found seeds 100149 to 100248, expected none of 100000 to 100149, which coll",
    ),
    "evaluation where it explores": (
        set_in("evaluate", seed=310_080),
        "which explore (after 1 rounds) uses",
    ),
    "evaluation where it ranks": (set_in("evaluate", seed=700_001), "which fidelity uses"),
    "rounds that share tracks": (set_in("explore", episodes=10_001), "which explore (after 2 rounds) uses"),
    "drivers that share tracks": (
        set_in("collect.erratic", seed=100_100),
        "which collect.lane_follower uses",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_validate_names_place_found_and_expected(project, capsys, params, case):
    spoil, said = WRONG[case]
    spoil(params)
    write(params)
    line = refused(capsys, validate)
    assert line.startswith("error: params.yaml: ")
    assert said in line
    assert len(line) < 400


NO_YAML = {
    "missing": (
        None,
        "error: dvc.yaml: not found. Run this command from the root of a checkout of the pipeline.",
    ),
    "empty": (b"", "error: params.yaml: empty, expected sections of parameters"),
    "only a comment": (b"# rounds\n", "error: params.yaml: empty"),
    "a list": (b"- 1\n- 2\n", "error: params.yaml: found [1, 2], expected sections of parameters"),
    "duplicate name": (
        b"rank:\n  seed: 1\n  seed: 2\n",
        "error: params.yaml, line 3: found 'seed' a second time, expected each name once",
    ),
    "tab": (
        b"rank:\n\tseed: 1\n",
        "error: params.yaml, line 2: found a tab, expected spaces",
    ),
    "unclosed": (b"rank: {seed: 1\n", "error: params.yaml, line 2: "),
    "no text": (
        b"\xff\xfe\x00rank",
        "error: params.yaml, line 1: found bytes that are not UTF-8, expected text",
    ),
    "a bell": (b"rank: \x07\n", "error: params.yaml: not valid YAML"),
    "another language": (
        b"rank: !!python/object:os.system {}\n",
        "error: params.yaml, line 1: could not determine",
    ),
    "two documents": (b"rank: 1\n---\nrank: 2\n", "error: params.yaml, line 2: but found another document"),
    "bottomless": (b"rank: " + b"[" * 5000, "error: params.yaml: nested too deeply"),
    "no end of bits": (b"rank: 0x" + b"f" * 5000, "error: params.yaml: environment: is missing"),
    "no end of digits": (b"rank: " + b"9" * 5000, "error: params.yaml: not valid YAML"),
    "no end of lines": (b"#\n" * (1 << 20), "error: params.yaml: larger than 1048576 bytes"),
    "laughs": (
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 121)),
        "error: params.yaml: a: unknown name, expected one of environment,",
    ),
}


@pytest.mark.parametrize("case", NO_YAML)
def test_invalid_yaml_is_reported_with_its_line(project, capsys, case):
    content, said = NO_YAML[case]
    if content is not None:
        write(content)
    line = refused(capsys, validate)
    assert line.startswith(said)
    assert len(line) < 400


def test_a_folder_in_its_place_is_refused(project, capsys):
    PARAMS.mkdir()
    assert "Is a directory" in refused(capsys, validate)


def test_every_stage_is_tried_below():
    assert sorted({module for module, _ in COMMANDS}) == MODULES


@pytest.mark.parametrize(("module", "words"), COMMANDS, ids=[" ".join([m, *w]) for m, w in COMMANDS])
@pytest.mark.parametrize("case", ["typo", "a search that widens", "evaluation where it ranks", "empty"])
def test_every_stage_refuses_a_mistake_in_any_section(project, capsys, params, case, module, words):
    if case == "empty":
        write(b"")
    else:
        WRONG[case][0](params)
        write(params)
    line = refused(capsys, run.run, run_stage, module, *words)
    assert line.startswith("error: params.yaml: ")
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("explore", ["r9"], "round: found 'r9', expected one of r0, r1, r2, r3, r4"),
        (
            "explore",
            ["R3"],
            "round: found 'R3', expected one of r0, r1, r2, r3, r4. Did you mean r3?",
        ),
        ("explor", ["r3"], ", train_vae. Did you mean explore?"),
        ("explore", ["../x"], "round: found '../x'"),
        ("explore", ["init"], "round: found 'init'"),
        ("evaluate", ["r0"], "evaluate: arguments: found 'r0', expected none"),
        ("train_rnn", ["r1", "init"], "prev of r1: found 'init', expected r0"),
        ("encode_explored", ["r1", "init"], "prev of r1: found 'init', expected r0"),
        ("encode", ["r1"], "encode: arguments: found 'r1', expected none"),
        ("train_rnn", ["r1"], "train_rnn: arguments: found 'r1', expected ROUND PREV, for example: r0 init"),
        ("rank", ["r1"], "rank: arguments: found 'r1', expected none"),
        ("collect", [], "collect: arguments: found nothing, expected DRIVER, one of erratic, lane_follower"),
        ("deps", ["--write", "x"], "deps: arguments: found '--write x', expected --write or nothing"),
        ("deps", ["--writ"], "deps: found '--writ', expected --write or nothing"),
        ("collect", ["ghost"], "driver: found 'ghost', expected one of erratic, lane_follower"),
    ],
)
def test_a_command_line_that_params_do_not_know_is_refused(project, capsys, params, module, words, said):
    write(params)
    line = refused(capsys, run.run, run_stage, module, *words)
    assert said in line
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_a_stage_loads_no_other_stage(project, params):
    """A stage starts without importing the others."""
    write(params)
    script = (
        "import sys\nfrom stages.__main__ import run_stage\n"
        "try:\n    run_stage('train_vae')\n"
        "finally:\n    print(*(name for name in sys.modules if name.startswith('stages.')))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert set(ended.stdout.split()) == {"stages.__main__", "stages.train_vae"}


def test_the_default_tracks_are_used_once(params):
    found = dict(check.tracks(check.check(params)))
    assert found["evaluate"] == range(900_000, 900_100)
    assert found["explore (after 5 rounds)"] == range(350_000, 350_081)
    assert len(found) == 1 + 2 + len(params["rounds"]) + 1


def test_limits_go_by_name_and_not_by_order(params):
    params["evolve"]["action_limits"] = {"brake": [0.0, 0.1], "steering": [-0.5, 0.5], "gas": [0.2, 0.3]}
    found = check.check(params).evolve.action_limits
    assert found.pairs == ((-0.5, 0.5), (0.2, 0.3), (0.0, 0.1))


def test_the_schema_knows_every_name_of_every_section(params):
    document = json.loads(json.dumps(schema()))

    def names(part, prefix=""):
        part = document["$defs"][part["$ref"].split("/")[-1]] if "$ref" in part else part
        for name, inner in part.get("properties", {}).items():
            yield f"{prefix}{name}"
            yield from names(inner, f"{prefix}{name}.")

    free = {"rounds", "collect", "process.min_score"}  # whose names are the user's

    def given(part, prefix=""):
        for name, inner in part.items():
            yield f"{prefix}{name}"
            if isinstance(inner, dict) and f"{prefix}{name}" not in free:
                yield from given(inner, f"{prefix}{name}.")

    assert sorted(names(document)) == sorted(given(params))
    assert document["additionalProperties"] is False
    kinds = document["properties"]["collect"]["additionalProperties"]["anyOf"]
    assert [kind["$ref"].split("/")[-1] for kind in kinds] == ["ImportDrives", "Collect"]
