"""What is wrong in params.yaml is told of in one line, by every stage and `wm validate`, before any work."""

import argparse
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from wm.runtime.run_stage import run_stage

from wm import cli
from wm.params import check
from wm.params.file import PARAMS
from wm.runtime import run

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py"))


def commands():
    """The stages' modules and command lines in the first round, as dvc.yaml has them."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    for stage in stages:
        words = stage.get("do", stage)["cmd"]
        for name, value in {"${item}": "erratic", "${key}": "r0", "${item.prev}": "init"}.items():
            words = words.replace(name, value)
        module, *arguments = words.split()[2:]
        yield module.removeprefix("stages."), arguments


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


def refused(capsys, run, *arguments):
    """The one line with which a command ends, by exit code 2."""
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def validate():
    run.run(cli.check_params, argparse.Namespace())


def set_in(section, **changes):
    """What changes a section, given as a path with dots."""

    def change(params):
        for name in section.split("."):
            params = params[name]
        params.update(changes)

    return change


WRONG = {
    # case: what is done to the parameters, and what the line says
    "typo": (
        set_in("evolve", temprature=1.0),
        "evolve.temprature: unknown, wanted one of seed, rounds_from_zero,",
    ),
    "typo in place of a name": (
        lambda p: p["evolve"].update(temprature=p["evolve"].pop("temperature")),
        "evolve.temprature: unknown, wanted one of seed, rounds_from_zero,",
    ),
    "typo deep down": (
        set_in("evolve.search", sigma=1),
        "evolve.search.sigma: unknown, wanted one of population",
    ),
    "typo of a driver": (
        set_in("collect.erratic", sed=1),
        "collect.erratic.sed: unknown, wanted one of seed, ep",
    ),
    "unknown section": (
        lambda p: p.update(evolv={}),
        "evolv: unknown, wanted one of environment, compute, hosts, gpu, rounds,",
    ),
    "section missing": (lambda p: p.pop("rank"), "rank: is missing"),
    "section empty": (
        lambda p: p.update(rank=None),
        "rank: Input should be a valid dictionary or instance of",
    ),
    "parameter missing": (lambda p: p["rank"].pop("dreams"), "rank.dreams: is missing"),
    "a word for a number": (
        set_in("rank", dreams="100"),
        "rank.dreams: Input should be a valid integer, found '100'",
    ),
    "a number for a word": (
        set_in("evolve", sampling=1),
        "evolve.sampling: Input should be 'sampled', 'mode', 'mean' or 'denoised', found 1",
    ),
    "a fraction of a track": (
        set_in("evaluate", episodes=1.5),
        "evaluate.episodes: Input should be a valid integer",
    ),
    "yes for true": (
        set_in("process", mirror="yes"),
        "process.mirror: Input should be a valid boolean, found 'yes'",
    ),
    "true for one": (set_in("rank", seed=True), "rank.seed: Input should be a valid integer, found True"),
    "none": (
        set_in("explore", action_noise=None),
        "explore.action_noise: Input should be a valid number, found None",
    ),
    "no drives": (
        set_in("evaluate", episodes=0),
        "evaluate.episodes: Input should be greater than 0, found 0",
    ),
    "negative seed": (
        set_in("evaluate", seed=-1),
        "evaluate.seed: Input should be greater than or equal to 0, found",
    ),
    "huge seed": (
        set_in("evaluate", seed=2**31),
        "evaluate.seed: found 2147483648, wanted a whole number of 21474836",
    ),
    "dropout of one": (
        set_in("train_rnn", dropout=1.0),
        "train_rnn.dropout: Input should be less than 1, found 1.0",
    ),
    "NaN": (
        set_in("evolve", temperature=float("nan")),
        "evolve.temperature: Input should be a finite number, found",
    ),
    "infinity": (
        set_in("train_vae", learning_rate=float("inf")),
        "train_vae.learning_rate: Input should be a fi",
    ),
    "all tracks set aside": (
        set_in("process", validation_share=1.0),
        "process.validation_share: Input should be le",
    ),
    "share below nothing": (
        set_in("process", validation_share=-0.1),
        "process.validation_share: Input should be gr",
    ),
    "none left to train on": (
        lambda p: p.update(
            collect={"erratic": {"seed": 1, "episodes": 1}}, process=p["process"] | {"min_score": {}}
        ),
        "process.validation_share: found 0.1, wanted a share that leaves one of the drivers' 1 tracks to tra",
    ),
    "tones that fall": (
        set_in("train_vae", tones=[[0, 0], [90, 60], [80, 130], [255, 255]]),
        "wanted points that rise from [0, 0] to [255, 255]",
    ),
    "a tone of three values": (set_in("train_vae", tones=[[0, 0, 0], [255, 255]]), "train_vae.tones.0: "),
    "a share given twice": (
        set_in("evolve", trouble_share={"search": [0.5, 0.5], "refine": [0.1]}),
        "evolve.trouble_share.search: found [0.5, 0.5], wanted different ones",
    ),
    "the same noise twice": (
        set_in("fidelity", noise=[0.5, 1.0, 0.5]),
        "fidelity.noise: found [0.5, 1.0, 0.5], wanted different ones",
    ),
    "no widths": (set_in("train_vae", widths=[]), "train_vae.widths: List should have at least 1 item"),
    "seven widths": (
        set_in("train_vae", widths=[4] * 7),
        "train_vae.widths: List should have at most 6 items",
    ),
    "warm-up of a whole drive": (
        set_in("environment", warm_up_frames=1000),
        "environment.warm_up_frames: Input sh",
    ),
    "unknown driver": (
        set_in("collect", ghost={"seed": 1, "episodes": 1}),
        "collect.ghost: found 'ghost', wanted on",
    ),
    "no rounds": (lambda p: p.update(rounds={}), "rounds: Dictionary should have at least 1 item"),
    "round 0": (
        set_in("rounds", **{"0": {"prev": "init"}}),
        "rounds.0: found '0', wanted a letter, and then",
    ),
    "round the number 0": (
        lambda p: p["rounds"].update({0: {"prev": "init"}}),
        "rounds.0: Input should be a valid s",
    ),
    "round of a shell": (
        set_in("rounds", **{"r0; rm -rf x": {"prev": "r0"}}),
        "found 'r0; rm -rf x', wanted a letter",
    ),
    "round elsewhere": (
        set_in("rounds", **{"../x": {"prev": "r0"}}),
        "rounds.../x: found '../x', wanted a letter",
    ),
    "round of two lines": (
        set_in("rounds", **{"a\nb": {"prev": "r0"}}),
        r"rounds.a\nb: found 'a\nb', wanted a lett",
    ),
    "round named init": (
        set_in("rounds", init={"prev": "r0"}),
        "rounds.init: found 'init', wanted another name than",
    ),
    "round over the published": (
        set_in("rounds", pretrained={"prev": "r0"}),
        "wanted another name than erratic, ini",
    ),
    "round over a driver": (
        set_in("rounds", erratic={"prev": "r0"}),
        "rounds.erratic: found 'erratic', wanted anoth",
    ),
    "prev of no round": (
        set_in("rounds.r1", prev="r9"),
        "rounds: prev names no round: found 'r9', wanted one of init",
    ),
    "prev in a circle": (set_in("rounds.r0", prev="r1"), "rounds: prev is circular: found 'r0'"),
    "prev missing": (lambda p: p["rounds"].update(r1={}), "rounds.r1.prev: is missing"),
    "filter of nobody": (
        set_in("process", min_score={"ghost": 1.0}),
        "process.min_score: found 'ghost', wanted one ",
    ),
    "more components than z and h": (
        set_in("evolve", components=289),
        "evolve.components: found 289, wanted 288 at most (train_vae.latent_size + initialise.hidden_size",
    ),
    "more components than starts": (
        set_in("evolve", start_episodes=1),
        "evolve.components: found 64, wanted 16 at m",
    ),
    "more rollouts than starts": (
        set_in("evolve", rollouts=16385),
        "evolve.rollouts: found 16385, wanted 16384 at m",
    ),
    "a dream longer than a drive": (
        set_in("evolve", horizon_steps=476),
        "evolve.horizon_steps: found 476, wanted 475",
    ),
    "a value longer than a drive": (
        set_in("evolve", value_steps=475),
        "evolve.value_steps: found 475, wanted 474 at",
    ),
    "a plan longer than a drive": (
        set_in("fidelity", plan_steps=475),
        "fidelity.plan_steps: found 475, wanted 474 a",
    ),
    "a window longer than a plan": (
        set_in("fidelity", window_steps=121),
        "fidelity.window_steps: found 121, wanted 120",
    ),
    "a search that widens": (
        set_in("evolve.search", last_std=0.4),
        "evolve.search.last_std: found 0.4, wanted 0.3 at",
    ),
    "a refinement that widens": (
        set_in("evolve.refine", last_std=0.4),
        "evolve.refine.last_std: found 0.4, wanted 0.1 at",
    ),
    "idle simulators": (set_in("initialise", simulators=65), "evolve.rollouts: found 64, wanted 65 at least"),
    "limits without brake": (lambda p: p["evolve"]["limits"].pop("brake"), "evolve.limits.brake: is missing"),
    "limits of a horn": (
        set_in("evolve.limits", horn=[0.0, 1.0]),
        "evolve.limits.horn: unknown, wanted one of steer",
    ),
    "limits the wrong way round": (
        set_in("evolve.limits", gas=[1.0, 0.0]),
        "evolve.limits.gas: found [1.0, 0.0], wanted [lowest, highest] within [0.0, 1.0]",
    ),
    "limits out of the car": (
        set_in("evolve.limits", steering=[-2.0, 1.0]),
        "wanted [lowest, highest] within [-1.0",
    ),
    "limits of three": (
        set_in("evolve.limits", gas=[0.0, 0.5, 1.0]),
        "evolve.limits.gas: List should have at most 2",
    ),
    "evaluation on a driver's track": (
        set_in("evaluate", seed=100_499),
        "evaluate: tracks: found 100499 to 100598, wanted none of 100000 to 100499, which are collect.lane_f",
    ),
    "evaluation where it explores": (
        set_in("evaluate", seed=310_119),
        "which are explore (after 1 rounds)'s",
    ),
    "evaluation where it ranks": (set_in("evaluate", seed=700_007), "which are fidelity's"),
    "rounds that share tracks": (set_in("explore", episodes=10_001), "which are explore (after 2 rounds)'s"),
    "drivers that share tracks": (set_in("collect.erratic", seed=100_100), "which are collect.lane_follower"),
}


@pytest.mark.parametrize("case", WRONG)
def test_validate_names_place_found_and_wanted(project, capsys, params, case):
    spoil, said = WRONG[case]
    spoil(params)
    write(params)
    line = refused(capsys, validate)
    assert line.startswith("error: params.yaml: ")
    assert said in line
    assert len(line) < 400


NO_YAML = {
    "missing": (None, "error: params.yaml: not found. Run from the project's root."),
    "empty": (b"", "error: params.yaml: it is empty, wanted sections of parameters"),
    "only a comment": (b"# rounds\n", "error: params.yaml: it is empty"),
    "a list": (b"- 1\n- 2\n", "error: params.yaml: found [1, 2], wanted sections of parameters"),
    "duplicate name": (
        b"rank:\n  seed: 1\n  seed: 2\n",
        'error: params.yaml, line 3: found duplicate key "seed"',
    ),
    "tab": (
        b"rank:\n\tseed: 1\n",
        "error: params.yaml, line 2: found character '\\t' that cannot start any token",
    ),
    "unclosed": (b"rank: {seed: 1\n", "error: params.yaml, line 2: "),
    "no text": (b"\xff\xfe\x00rank", "error: params.yaml: no YAML that can be read"),
    "a bell": (b"rank: \x07\n", "error: params.yaml: no YAML that can be read"),
    "another language": (
        b"rank: !!python/object:os.system {}\n",
        "error: params.yaml, line 1: could not determine",
    ),
    "two documents": (b"rank: 1\n---\nrank: 2\n", "error: params.yaml, line 2: but found another document"),
    "bottomless": (b"rank: " + b"[" * 5000, "error: params.yaml: nested too deeply"),
    "no end of bits": (b"rank: 0x" + b"f" * 5000, "error: params.yaml: environment: is missing"),
    "no end of digits": (b"rank: " + b"9" * 5000, "error: params.yaml: no YAML that can be read"),
    "no end of lines": (b"#\n" * (1 << 20), "error: params.yaml: more than 1048576 bytes"),
    "laughs": (
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 121)),
        "error: params.yaml: a: unknown, wanted one of environment,",
    ),
}


@pytest.mark.parametrize("case", NO_YAML)
def test_what_is_no_yaml_is_told_of_by_its_line(project, capsys, case):
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
def test_every_stage_says_so_at_once_whosever_section_it_is(project, capsys, params, case, module, words):
    if case == "empty":
        write(b"")
    else:
        WRONG[case][0](params)
        write(params)
    line = refused(capsys, run_stage, import_module(f"stages.{module}").main, *words)
    assert line.startswith("error: params.yaml: ")
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("explore", ["r9"], "round: found 'r9', wanted one of r0, r1, r2, r3, r4, r5"),
        ("process", ["../x"], "round: found '../x'"),
        ("evaluate", ["init"], "round: found 'init'"),
        ("train_rnn", ["r1", "init"], "prev of r1: found 'init', wanted r0"),
        ("encode", ["r1"], "prev of r1: found None, wanted r0"),
        ("train_rnn", ["r1"], "arguments: found ['r1'], wanted round_name, prev"),
        ("rank", ["r1"], "arguments: found ['r1'], wanted none"),
        ("collect", ["ghost"], "collect: found 'ghost', wanted one of lane_follower, erratic"),
    ],
)
def test_a_command_line_that_params_do_not_know_is_refused(project, capsys, params, module, words, said):
    write(params)
    line = refused(capsys, run_stage, import_module(f"stages.{module}").main, *words)
    assert said in line
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_other_stages_code_is_forgotten_once_it_has_checked(project, params):
    """No unfinished work hangs on code that it does not follow from."""
    write(params)
    tell = "import sys; print(*sorted(n for n in sys.modules if n.startswith(('wm.', 'stages.'))))"
    script = f"from wm import config\ndef main():\n    {tell}\nconfig.run_stage(main)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["wm.config"]


def test_the_default_tracks_are_used_once(params):
    found = dict(check.tracks(check.validate(params)))
    assert found["evaluate"] == range(900_000, 900_100)
    assert found["explore (after 7 rounds)"] == range(370_000, 370_120)
    assert len(found) == 1 + 2 + len(params["rounds"]) + 1


def test_limits_go_by_name_and_not_by_order(params):
    params["evolve"]["limits"] = {"brake": [0.0, 0.1], "steering": [-0.5, 0.5], "gas": [0.2, 0.3]}
    found = check.validate(params).evolve.limits
    assert found.pairs == ((-0.5, 0.5), (0.2, 0.3), (0.0, 0.1))


def test_the_schema_knows_every_name_of_every_section(params, capsys):
    cli.print_schema(argparse.Namespace())
    schema = json.loads(capsys.readouterr().out)

    def names(part, prefix=""):
        part = schema["$defs"][part["$ref"].split("/")[-1]] if "$ref" in part else part
        for name, inner in part.get("properties", {}).items():
            yield f"{prefix}{name}"
            yield from names(inner, f"{prefix}{name}.")

    free = {"rounds", "collect", "process.min_score"}  # whose names are the user's

    def given(part, prefix=""):
        for name, inner in part.items():
            yield f"{prefix}{name}"
            if isinstance(inner, dict) and f"{prefix}{name}" not in free:
                yield from given(inner, f"{prefix}{name}.")

    assert sorted(names(schema)) == sorted(given(params))
    assert schema["additionalProperties"] is False
    assert schema["properties"]["collect"]["propertyNames"]["enum"] == ["lane_follower", "erratic"]
