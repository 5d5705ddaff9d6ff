"""The documents: their length, links, names and numbers are right, and their commands exist or are run."""

import ast
import itertools
import json
import math
import re
import runpy
import shlex
import statistics
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from commands import wm
from ruamel.yaml import YAML

from bench import document, footprint, results_page, stage_minutes, tables
from bench.structure import words
from bench.timing import Row
from wm.data import resident
from wm.data.episode import Episode, Record
from wm.data.shards import Writer
from wm.params import profiles
from wm.params.check import check
from wm.params.explore import SEEDS_PER_ROUND
from wm.pipeline import sources
from wm.runtime import files
from wm.spec import FRAME_BYTES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
COLUMNS = 100
LIMITS = {  # words
    "README.md": 900,
    "docs/method.md": 2000,
    "docs/results.md": 2000,
    "docs/performance.md": 1500,
    "docs/gpu.md": 400,
    "docs/data.md": 1200,
    "docs/scale.md": 1200,
    "docs/reliability.md": 1200,
}
ALL_WORDS = 15_000
EXPERIMENT_LINES = 60

TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
DOCUMENTS = [ROOT / name for name in TRACKED if name.endswith(".md") and not name.startswith("models/")]
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
SECTIONS = YAML(typ="safe").load(ROOT / "params.yaml")

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)


def code(path):
    """All code of a document: blocks and what stands between backticks."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return blocks + re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def slug(heading):
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_document
def test_lines_are_no_longer_than_100_columns(path):
    long = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > COLUMNS]
    assert [line for line in long if not line.startswith("|")] == []


@pytest.mark.parametrize("name", LIMITS)
def test_a_document_is_short(name):
    assert words(ROOT / name) <= LIMITS[name]


def test_the_film_of_the_readme_loads_quickly():
    assert (DOCS / "drive.webp").stat().st_size <= 2_000_000


def test_all_documents_together_are_short():
    assert sum(words(path) for path in DOCUMENTS) <= ALL_WORDS


@every_document
def test_a_page_of_an_experiment_is_short(path):
    if path.parent.name == "experiments" and path.name != "README.md":
        assert len(path.read_text(encoding="utf-8").splitlines()) <= EXPERIMENT_LINES


@every_document
def test_links_resolve(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


@every_document
def test_paths_exist(path):
    top = "wm|stages|bench|tests|docs|examples|profiles|web|models/pretrained"
    for text in code(path):
        for name in re.findall(rf"(?<![\w/.*])((?:{top})/[\w/.-]*\w)", text):
            created = name in path.read_text(encoding="utf-8").split("+++ ", 1)[-1] and f"+++ {name}" in text
            if not created and not (path.name == "CONTRIBUTING.md" and "census" in name):
                assert (ROOT / name).exists(), name


@every_document
def test_parameters_exist(path):
    parameters = set(dotted(SECTIONS))
    for text in code(path):
        for name in re.findall(rf"(?<![\w./-])((?:{'|'.join(SECTIONS)})\.\w[\w.]*\w)", text):
            known = name in parameters or name.endswith((".py", ".md", ".json", ".csv", ".eqx"))
            new = path.name == "CONTRIBUTING.md" and name in ("evaluate.sampled",)
            assert known or new or name.startswith("rounds."), name


def dotted(section, place=""):
    """The names of all parameters and sections: a.b.c."""
    for name, value in section.items():
        yield place + name
        if isinstance(value, dict):
            yield from dotted(value, f"{place}{name}.")


@every_document
def test_modules_and_stages_exist(path):
    from stages.__main__ import NAMES

    for text in code(path):
        for module in re.findall(r"python -m ([\w.]+)", text):
            assert find_spec(module) is not None, module
        for name in re.findall(r"python -m stages ([a-z]\w*)", text):
            new = path.name == "CONTRIBUTING.md" and name in ("census",)
            assert name in (*NAMES, "deps") or new, name


COMMANDS = sorted(
    {
        " ".join(command.split())
        for path in DOCUMENTS
        for text in code(path)
        for command in re.findall(r"(?:uv run |&& )(?:--extra \w+ )*(wm [a-z][^#`&|\n]*)", text)
    }
)


def test_the_readme_has_commands():
    assert any(command.startswith("wm evaluate ") for command in COMMANDS)


@pytest.mark.parametrize("command", sorted({command.split()[1] for command in COMMANDS}))
def test_commands_of_wm_and_their_options_exist(command):
    shown = wm(command, "--help").stdout
    for line in COMMANDS:
        if line.split()[1] == command:
            for option in re.findall(r"--[\w-]+", line):
                assert option in shown, line


def test_commands_of_dvc_and_their_options_exist():
    from dvc.cli import parse_args

    commands = {
        line.split("#")[0].split("&&")[0].strip()
        for path in DOCUMENTS
        for text in code(path)
        for line in text.splitlines()
        if line.startswith(("uv run dvc ", "dvc "))
    }
    assert any("exp show" in command for command in commands)
    for command in commands:
        parse_args(shlex.split(command.removeprefix("uv run "))[1:])


def test_nothing_rests_on_scripts_that_are_not_here():
    assert [path for path in DOCUMENTS if "not part of this" in path.read_text(encoding="utf-8")] == []


def tree():
    """The files and folders of README's tree."""
    block = README.read_text(encoding="utf-8").split("## The tree")[1].split("```")[1]
    parents, found = "", set()
    for line in block.strip().splitlines():
        names = re.match(r"(\s*)((?:[\w.]+/?(?: |$))+)", line)
        assert names, line
        shown = [name for name in names[2].split() if name.endswith("/") or re.search(r"\.\w+$", name)]
        assert shown, line
        if not names[1]:
            parents = shown[0]
        found |= {(parents if names[1] else "") + name for name in shown}
    return found


def test_the_tree_is_the_tree_on_disk():
    files = {name for name in TRACKED if not name.startswith(".")}
    folders = {f"{name.split('/')[0]}/" for name in files if "/" in name} | {"data/"}
    packages = {
        "/".join(name.split("/")[:2]) + "/" for name in files if name.count("/") >= 2 and name[:3] == "wm/"
    }
    modules = {name for name in files if re.fullmatch(r"wm/[a-z]\w*\.py", name)}
    assert tree() == folders | packages | modules | {"dvc.yaml", "params.yaml"}


def readme_score(agent):
    """Mean and standard deviation in a row of README's table."""
    row = README.read_text(encoding="utf-8").split(f"| {agent} |")[1].splitlines()[0]
    return [cell.strip(" *") for cell in row.split("|")][2:4]


def test_scores_in_the_readme_are_those_of_the_files():
    rows = [
        row for row in tables.rows(results_page.DATA / "fresh_tracks.csv") if row["run"] == results_page.RUN
    ]
    fresh = results_page.pooled([row for row in rows if row["first_track"] != "900000"])
    assert readme_score("**this agent, 500 fresh tracks**") == [
        f"{fresh.mean:.1f}",
        f"{fresh.std:.1f}",
    ]
    assert fresh.tracks == 500
    real, dream = (
        json.loads((ROOT / f"models/pretrained/{world}.json").read_text()) for world in ("real", "dream")
    )
    for agent, scores in {
        "this agent, 100 evaluation tracks": real,
        "this agent in its dream": dream,
    }.items():
        assert readme_score(agent) == [f"{scores['score'][name]:.1f}" for name in ("mean", "std")]
    laps = f"A dreamt lap takes {dream['lap_frames']:.0f} frames, a real one {real['lap_frames']:.0f}"
    assert laps in README.read_text(encoding="utf-8")


def test_numbers_of_the_method_are_those_of_params_yaml():
    text = " ".join((DOCS / "method.md").read_text(encoding="utf-8").split())
    params = {
        name: SECTIONS[name] for name in ("evolve", "explore", "evaluate", "fidelity", "rank", "initialise")
    }
    evolve, search, refine = params["evolve"], params["evolve"]["search"], params["evolve"]["refine"]
    ascent, updates = evolve["ascent"], evolve["ascent"]["updates"]
    assert search == refine
    cost = evolve["missed_tile_cost"]
    low, high = evolve["action_limits"]["brake"]
    coordinates = 3 * (evolve["principal_components"] + 1)
    assert low == 0
    for phrase in (
        f"a latent $z$ of {SECTIONS['train_vae']['latent_size']} numbers",
        f"An LSTM of {params['initialise']['hidden_size']} units",
        f"$K = {params['initialise']['mixtures']}$",
        f"A batch is {SECTIONS['train_rnn']['batch_size']} windows of"
        f" {SECTIONS['train_rnn']['window_steps']} steps, in the first round"
        f" {SECTIONS['train_rnn']['first_round_batch_size']} of"
        f" {SECTIONS['train_rnn']['first_round_window_steps']} ",
        f"has a share of {SECTIONS['train_rnn']['newest_share']}",
        f"`evaluate` drives {params['evaluate']['episodes']} real tracks",
        f"`explore` drives {params['explore']['episodes']} new tracks",
        f"(standard deviation {params['explore']['action_noise']})",
        f"seeds from {params['explore']['seed'] + SEEDS_PER_ROUND}, only for `explore`",
        f"keeps the brake at {high}",
        f"$H = {evolve['horizon_steps']}$ steps",
        f"the points of the next {evolve['value_steps']} steps",
        f"points that a lap of {evolve['fastest_lap_steps']} steps earns",
        f"the mean over {evolve['rollouts']} dreams",
        f"costs {cost['refine']:.0f} points, since",
        f"({cost['from_zero']:.0f} in the ascent from a zero controller",
        f"the {evolve['principal_components']} principal components",
        f"It runs in {coordinates} coordinates",
        f"({search['population']} candidates, {search['generations']} generations)",
        f"for {updates['refine']} steps of Adam (in the first round, first for {updates['from_zero']} steps"
        f" from a zero controller), each over {ascent['dreams']:,} dreams",
        f"These have {ascent['horizon_steps']} steps",
        f"from {search['max_std']} to {search['final_std']}",
        f"{evolve['score_episodes']} whole episodes from the first frames",
        f"from {params['fidelity']['plans']} real moments",
        f"the same {params['fidelity']['plan_steps']} actions",
        f"on {params['fidelity']['tracks']} tracks each",
        f"in the same {params['rank']['dreams_per_controller']} whole dreams",
    ):
        assert phrase in text, phrase


def test_tables_of_measurements_are_those_of_their_csv_files():
    for path in document.DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert document.rendered(text) == text
        assert text.count("<!-- end -->") > 0


def test_the_loss_curves_are_those_of_the_metrics(tmp_path):
    with document.drawing():
        document.draw_losses(tmp_path / "losses.svg")
    drawn = (tmp_path / "losses.svg").read_bytes()
    assert document.LOSSES.read_bytes() == drawn, "run `uv run python -m bench.document`"


def test_normal_losses_are_those_of_the_metrics():
    text = " ".join((DOCS / "method.md").read_text(encoding="utf-8").split())
    vae = json.loads((document.METRICS / "train_vae.json").read_text())["loss"]
    first, last = (
        json.loads((document.METRICS / f"rounds/{name}/train_rnn.json").read_text())["rnn"]["nll"]
        for name in (next(iter(SECTIONS["rounds"])), next(reversed(SECTIONS["rounds"])))
    )
    assert f"V ends at {vae:.0f}, M at {first:.1f} nats in the first round and {last:.1f} in the last" in text


def test_a_cell_of_a_measurement_holds_one_number():
    for path in document.DOCUMENTS:
        for block in document.BLOCK.findall(path.read_text(encoding="utf-8")):
            for row in document.read(block[1]):
                assert not any("±" in cell or " / " in cell for cell in row.values()), row


def test_the_data_of_the_footprint_are_those_of_the_profiles(monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = document.read("footprint")
    for name in footprint.PROFILES:
        sizes = footprint.data_bytes(check(profiles.content(name)))
        assert [int(row[name]) for row in rows[:2]] == [round(size / 1e6) for size in sizes]


def test_the_cards_that_hold_the_data_are_those_of_the_footprint():
    """JAX gives the process three quarters of a card."""
    frames, latents = document.read("footprint")[:2]
    needed = [frames["default"], frames["paper"], latents["paper"]]
    sizes = [math.ceil(int(size) / 1e3 / resident.MAX_SHARE / 0.75) for size in needed]
    text = " ".join((DOCS / "gpu.md").read_text(encoding="utf-8").split())
    assert "a card of {} GB, the paper's {} GB, its latents {} GB".format(*sizes) in text


def test_the_minutes_of_the_gpu_page_are_those_of_the_measurement():
    rows = document.read("paper_h200")
    text = (DOCS / "gpu.md").read_text(encoding="utf-8")
    assert f"| {sum(int(row['paper_minutes']) for row in rows)}, [extrapolated]" in text
    first = {row["stage"]: row["seconds_before_first_step"] for row in rows}
    compiled = [int(first[stage]) for stage in ("train_vae", "train_rnn r0", "evolve r0")]
    assert f"took {min(compiled)} to {max(compiled)}" in text


@pytest.mark.parametrize("stage", ["train_rnn", "evolve", "explore", "encode_explored"])
def test_no_stage_needs_more_memory_in_later_rounds(stage):
    peaks = [int(row["megabytes"]) for row in document.read("memory_rounds") if row["stage"] == stage]
    assert len(peaks) == 20
    assert statistics.median(peaks[-5:]) < 1.1 * statistics.median(peaks[:5])


def test_the_extrapolation_follows_from_the_default_run():
    minutes = {row["stages"]: float(row["minutes"]) for row in document.read("stage_minutes")[:8]}
    drives = sum(driver["episodes"] for driver in profiles.content("best")["collect"].values())
    first = next(row for row in tables.rows(DOCS / "runs.csv") if row["run"] == results_page.BEST)
    kept, frames = int(first["real_drives"]), int(first["real_frames"])
    timing = SECTIONS["environment"]
    steps = (frames / kept - timing["warm_up_frames"]) / timing["action_repeat"]
    hours = {
        "making them, core-hours": 2 * minutes["collect"] / 60 / drives,
        "`encode` on 2 cores, hours": minutes["encode and initialise"] / 60 / kept,
        "frames over a 110 MB/s network to the stage, hours": steps * FRAME_BYTES / 110e6 / 3600,
    }
    text = (DOCS / "scale.md").read_text(encoding="utf-8")
    assert f"{steps:.0f} steps per drive" in text
    for name, hour in hours.items():
        assert f"| {name} | {hour * 1e4:.1f} | {hour * 1e6:.0f} |" in text, name


def test_a_stated_number_of_stages_is_that_of_dvc_yaml():
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    sizes = {"${rounds}": len(SECTIONS["rounds"]), "None": 1}
    lists = [stage.get("foreach") for stage in stages]
    count = sum(len(each) if isinstance(each, list | dict) else sizes[str(each)] for each in lists)
    for path in DOCUMENTS:
        for number in re.findall(r"\b(\d+) stages\b", path.read_text(encoding="utf-8")):
            assert int(number) == count, path


def test_every_row_of_the_page_on_reliability_names_its_test():
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    tables_with_tests = re.findall(r"^\|[^\n]*\| test \|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [row for table in tables_with_tests for row in table.splitlines()[1:]]
    assert len(rows) > 40
    for row in rows:
        names = re.findall(r"`([\w/]+\.py)`", row.rstrip("| ").rpartition("|")[2])
        assert names, row
        for name in names:
            assert (ROOT / (name if "/" in name else f"tests/faults/{name}")).exists(), name


def test_the_columns_of_the_speed_table_are_those_that_the_bench_prints():
    assert list(document.read("speed")[0]) == ["machine", *Row("path", "unit", 1.0).record]


def test_stage_minutes_times_each_stage_until_the_next():
    lines = ["Running stage 'collect@erratic':", "x", "Running stage 'evolve@r0':", "Running stage 'rank':"]
    found = stage_minutes.durations(zip([*lines, ""], [10.0, 15.0, 20.0, 50.0, 90.0], strict=True))
    assert found == {"collect@erratic": 10.0, "evolve@r0": 30.0, "rank": 40.0}


def test_the_test_files_that_reliability_names_exist():
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests/|bench/)?(?:test_)?\w+\.py)`", text))
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "tests/faults" / name).exists(), name


def test_the_way_of_a_parameter_and_of_a_frame_names_what_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/.]+\.py)` \| .*?`(\w+)`", text, re.MULTILINE)
    rows += [(path, name) for name, path in re.findall(r"`(\w+)`\s+\(`([\w/.]+\.py)`\)", text)]
    assert len(rows) > 15
    for path, name in rows:
        defined = {getattr(node, "name", "") for node in ast.walk(ast.parse((ROOT / path).read_text()))}
        assert name in defined, (path, name)


def test_the_diagram_shows_every_stage_and_package():
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    packages = {path.name for path in (ROOT / "wm").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert {name for name in [*stages, *packages] if not re.search(rf"\b{name}\b", diagram)} == set()


def outputs(stage):
    """The paths of a stage's outputs, as dvc.yaml writes them."""
    entry = stage.get("do", stage)
    made = [output for kind in ("outs", "metrics", "plots") for output in entry.get(kind, [])]
    return [output if isinstance(output, str) else next(iter(output)) for output in made]


def data_flow():
    """The pairs of stages in dvc.yaml, with a source of recorded drives, of which the second reads an output
    of the first."""
    mine = {"mine": {"path": "mine", "seed": 500_000, "episodes": 1}}
    params = check(SECTIONS | {"collect": SECTIONS["collect"] | mine})
    text = sources.with_sources((ROOT / "dvc.yaml").read_text(), params)
    stages = YAML(typ="safe").load(text)["stages"]
    made, read = {}, {}
    for name, stage in stages.items():
        entry, items = stage.get("do", stage), stage.get("foreach", [])
        names = list(items) if items and not isinstance(items, str) else ["${key}"]
        made[name] = [
            path.replace("${item}", each).replace("${key}", each) for path in outputs(stage) for each in names
        ]
        read[name] = [
            dep.replace("${item.prev}", prev) for dep in entry["deps"] for prev in ("${key}", "init")
        ]
    return {
        (maker, reader)
        for maker in stages
        for reader in stages
        if maker != reader
        and any(f"{path}/".startswith(f"{dep}/") for path in made[maker] for dep in read[reader])
    }


def arrows():
    """The arrows between stages in the diagram, each as the pairs of stages that it stands for."""
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    shown = diagram.split("subgraph wm")[0]
    box = shown.split("subgraph round")[1].split(" end\n")[0]
    parts = {"round": re.findall(r"^ +(\w+)\[", box, re.MULTILINE)}
    for ends in re.findall(r"^ +([\w &]+) (?:-->|==>)(?:\|.*?\|)? ([\w &]+)$", shown, re.MULTILINE):
        for maker, reader in itertools.product(*(end.split(" & ") for end in ends)):
            yield {(part, reader) for part in parts.get(maker, [maker])}


def test_the_arrows_of_the_diagram_are_the_data_flow_of_dvc_yaml():
    """All but those to `report`, which reads of every stage, and those of models/rounds/init to stages that
    depend on the folder models/rounds for the other rounds."""
    flow, drawn = data_flow(), list(arrows())
    assert [pairs for pairs in drawn if not pairs & flow] == []
    left = {(maker, reader) for maker, reader in flow - set().union(*drawn) if reader != "report"}
    assert left == {("initialise", reader) for reader in ("rank", "evaluate", "fidelity")}


def test_the_metrics_of_the_readme_are_those_of_the_summary():
    text = README.read_text(encoding="utf-8").split("The metrics are ")[1].split("`uv run")[0]
    named = set(re.findall(r"`(\w+)`", text))
    summary = [json.loads(path.read_text()) for path in (ROOT / "metrics/summary").glob("*.json")]
    assert len(named) > 4
    assert named <= {name for metrics in summary for name in metrics}


def test_the_environments_of_the_readme_have_the_same_spaces(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    snippet = tmp_path / "snippet.py"
    snippet.write_text(block)
    made = runpy.run_path(str(snippet))
    assert made["dreams"].num_envs == 64
    assert made["dreams"].single_action_space == made["track"].action_space
    assert made["dreams"].single_observation_space == made["track"].observation_space


def test_data_md_names_all_models_and_metrics():
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    named = set(re.findall(r"`(?:.*/)?([\w.]+)`", (DOCS / "data.md").read_text(encoding="utf-8")))
    written = {path.split("/")[-1] for stage in stages.values() for path in outputs(stage) if path[0] == "m"}
    assert written - named == set()


def test_a_shard_is_read_as_data_md_says(tmp_path, monkeypatch):
    rng, last = np.random.default_rng(0), np.arange(5) == 4
    drive = Episode(
        Record(0, 7, "erratic", 5, score=1.5, warm_up_reward=0.5, lap_finished=False),
        {"frame": rng.integers(0, 256, (5, 64, 64, 3), np.uint8)},
        rng.uniform(-1, 1, (5, 3)).astype(np.float32),
        rng.normal(size=5).astype(np.float32),
        rng.integers(0, 3, 5, np.int16),
        last,
        ~last & last,
    )
    with files.replacing(tmp_path / "data" / "raw" / "erratic") as folder:
        writer = Writer(folder, "erratic")
        writer.write(drive)
        writer.finish()
    text = (DOCS / "data.md").read_text()
    monkeypatch.chdir(tmp_path)
    snippet = tmp_path / "snippet.py"
    snippet.write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    result = runpy.run_path(str(snippet))
    assert (result["frames"] == drive.observations["frame"]).all()
    assert (result["actions"] == drive.actions).all()
    assert (result["rewards"] == drive.rewards).all()
    columns = text.split("| column |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", columns, re.MULTILINE))))
    assert named == {*result["rows"].column_names, "mu", "logvar"}
    assert all(f"`{name}`" in text for name in result["drive"] if name != "episode")
