"""The model card of a published agent (Mitchell et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from wm.data.shards import Shards
from wm.params.names import INIT
from wm.report.template import render
from wm.runtime import results
from wm.runtime.places import LATENTS, ROUND_METRICS
from wm.spec import Timing

PACKAGES = ("gymnasium", "jax", "equinox", "optax", "cma", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Origin:
    """How an agent was made and evaluated, as far as no file of its round says so."""

    rounds: Sequence[str]  # the agent's round is the last; each continues from the one before it
    timing: Timing
    dream_steps: Sequence[int]  # of all searches of each round
    evaluation_seed: int  # of the first real track on which the agent was evaluated

    @property
    def round_name(self) -> str:
        """The agent's round."""
        return self.rounds[-1]

    @property
    def prev(self) -> str:
        """The round that the agent's round continues from."""
        return self.rounds[-2] if len(self.rounds) > 1 else INIT


def model_card(origin: Origin) -> str:
    """MODEL_CARD.md of a round's agent, from its data and metrics. Raises BadInput."""
    drives, frames = real_data(origin.prev, origin.timing)
    dream, real = (
        results.read(ROUND_METRICS / origin.round_name / f"{world}.json", results.DriveSummary)
        for world in ("dream", "real")
    )
    first = origin.evaluation_seed
    values = {
        "timing": origin.timing,
        "rounds": origin.rounds,
        "drives": drives,
        "frames": frames,
        "dream_steps": origin.dream_steps,
        "scores": {f"real tracks, seeds {first} to {first + real.score.n - 1}": real, "dreams": dream},
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    return render("model_card.md.j2", values)


def real_data(prev: str, timing: Timing) -> tuple[int, int]:
    """Real drives kept for the models of the round after `prev`, and their frames."""
    records = [record for record in Shards(LATENTS / prev).records if not record.mirrored]
    return len(records), sum(timing.frames(record.length) for record in records)
