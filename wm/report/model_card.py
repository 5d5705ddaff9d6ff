"""The model card of a published agent (Mitchell et al. 2019)."""

from importlib.metadata import version

from wm.data.shards import Shards
from wm.params.evolve import Evolve
from wm.params.model import Params
from wm.report.template import render
from wm.runtime import results
from wm.runtime.places import LATENTS, ROUND_METRICS
from wm.spec import Timing

PACKAGES = ("gymnasium", "jax", "equinox", "optax", "cma", "numpy", "opencv-python-headless")


def model_card(params: Params, round_name: str) -> str:
    """MODEL_CARD.md of a round's agent, from its data and metrics. Raises BadInput."""
    rounds = params.rounds_until(round_name)
    drives, frames = real_data(params.rounds[round_name].prev, params.environment.timing)
    dream, real = (
        results.read(ROUND_METRICS / round_name / f"{world}.json", results.DriveSummary)
        for world in ("dream", "real")
    )
    first = params.evaluate.seed
    values = {
        "environment": params.environment,
        "chosen": round_name,
        "rounds": rounds,
        "drives": drives,
        "frames": frames,
        "dream_steps": [dream_steps(number, params.evolve) for number in range(len(rounds))],
        "scores": {f"real tracks, seeds {first} to {first + real.score.n - 1}": real, "dreams": dream},
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    return render("model_card.md.j2", values)


def real_data(prev: str, timing: Timing) -> tuple[int, int]:
    """Drives and frames on real tracks collected for the models of the round after `prev`."""
    records = [record for record in Shards(LATENTS / prev).records if not record.mirrored]
    return len(records), sum(timing.frames(record.length) for record in records)


def dream_steps(number: int, evolve: Evolve) -> int:
    """Steps of all dreams in all searches of the round with `number` rounds before it."""
    kind = "search" if number < evolve.from_scratch_rounds else "refine"
    search, searches = getattr(evolve, kind), len(getattr(evolve.off_track_share, kind))
    return searches * search.generations * search.population * evolve.rollouts * evolve.horizon_steps
