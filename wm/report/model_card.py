"""The model card of a published agent (Mitchell et al. 2019)."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from wm.data.shards import Shards
from wm.params import file
from wm.params.environment import Environment
from wm.runtime import results
from wm.spec import FRAMES_PER_EPISODE

LATENTS, METRICS = Path("data/latents"), Path("metrics")
PACKAGES = ("gymnasium", "jax", "equinox", "optax", "cma", "numpy", "opencv-python-headless")


def model_card(round_name: str) -> str:
    """MODEL_CARD.md of a round's agent, from its data, metrics and params.yaml."""
    params = file.load()
    rounds = params.rounds_until(round_name)
    environment = params.environment
    drives, frames = real_data(params.rounds[round_name].prev, environment)
    evolve = params.evolve.model_dump()
    dreamt = [dreamt_steps(number, evolve) for number in range(len(rounds))]
    dream, real = (
        results.read(METRICS / round_name / f"{world}.json", results.Measured)[0]
        for world in ("dream", "real")
    )
    last = params.evaluate.seed + real.score.n - 1
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"""# Model card: a CarRacing driver evolved in its own dream

**What.** A VAE (`vae.eqx`), an MDN-RNN (`rnn.eqx`) and a linear controller (`controller.eqx`): a picture of
`CarRacing-v3`, 64 x 64 in colour, to steering, gas and brake, every {environment.action_repeat} frames from
frame {environment.warm_up_frames} on. `simulators.eqx` makes the dreams, which begin at
`starts.npz`: how unseen drives were first seen. Models are JSON headers and raw numbers, no pickle;
`wm/model_file.py` reads them.

**How trained.** Round {round_name}, the last of {", ".join(rounds)}; `params.yaml` of this repository
has {len(params.rounds)}. V and M were trained on real drives of scripted drivers and of earlier agents,
C by CMA-ES in dreams alone. No stage chooses anything by a real score; by what scores the recipe and its
rule for choosing among rounds were settled is in `docs/results.md`.

| used | |
| --- | --- |
| real drives (frames) behind V and M | {drives:,} ({frames:,}) |
| dreamt steps behind this round's C / all rounds' | {dreamt[-1]:,} / {sum(dreamt):,} |

| score | mean | std | median | worst | best | n |
| --- | --- | --- | --- | --- | --- | --- |
{score_row(f"real tracks, seeds {params.evaluate.seed} to {last}", real.score)}
{score_row("dreamt episodes", dream.score)}

Of the real drives {real.laps} were whole laps.

**For** research on world models, and as an example. **Not for** any real vehicle.

**Limits.** One environment, one kind of car. Another action repeat, warm-up or version of the environment
is another task. A weak drive leaves the road in a hairpin, and stands on the grass or follows the road back
the wrong way; or it is too slow to finish a long track. Another machine gives other last digits, and drives
that differ after a while.

**Made with** {versions}.
"""


def real_data(prev: str, environment: Environment) -> tuple[int, int]:
    """Drives and frames on real tracks that the models of the round after `prev` have seen."""
    records = [record for record in Shards(LATENTS / prev).records if not record.mirrored]
    lengths = [environment.warm_up_frames + environment.action_repeat * r.length for r in records]
    return len(records), sum(min(length, FRAMES_PER_EPISODE) for length in lengths)


def dreamt_steps(number: int, evolve: dict[str, Any]) -> int:
    """Of the candidates of all searches of the round that has so many before it."""
    kind = "search" if number < evolve["from_scratch_rounds"] else "refine"
    search, searches = evolve[kind], len(evolve["off_track_share"][kind])
    dreams = searches * search["generations"] * search["population"] * evolve["rollouts"]
    return dreams * evolve["horizon_steps"]


def score_row(name: str, score: results.Summary) -> str:
    """A line of the table of scores."""
    figures = [f"{getattr(score, key):.1f}" for key in ("mean", "std", "median", "min", "max")]
    return f"| {' | '.join([name, *figures, str(score.n)])} |"
