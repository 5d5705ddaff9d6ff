"""The model card of a published agent (Mitchell et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from wm.data.shards import Shards
from wm.params.names import INIT
from wm.report.template import render
from wm.runtime import results
from wm.runtime.places import LATENTS, METRICS, ROUND_METRICS
from wm.spec import Timing

PACKAGES = ("gymnasium", "jax", "equinox", "optax", "cma", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Origin:
    """How an agent was made and evaluated, as far as no file of its round says so."""

    rounds: Sequence[str]  # the agent's round is the last; each continues from the one before it
    timing: Timing
    dream_steps: Sequence[int]  # of all searches of each round
    evaluation_seed: int  # of the first real track on which the chosen round's agent was evaluated

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
        results.read(path, results.DriveSummary) for path in score_files(origin.round_name).values()
    )
    values = {
        "timing": origin.timing,
        "rounds": origin.rounds,
        "drives": drives,
        "frames": frames,
        "dream_steps": origin.dream_steps,
        "scores": {tracks(origin, real.score.n): real, "dreams": dream},
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    return render("model_card.md.j2", values)


def score_files(round_name: str) -> dict[str, Path]:
    """The scores of a round's agent by world. The real ones are those of the evaluation, or for another round
    than the chosen one those of its exploring drives. Raises BadInput."""
    folder = ROUND_METRICS / round_name
    real = METRICS / "real.json" if was_evaluated(round_name) else folder / "explore.json"
    return {"dream": folder / "dream.json", "real": real}


def was_evaluated(round_name: str) -> bool:
    """Whether `rank` chose the round. Raises BadInput."""
    return results.read(METRICS / "ranks.json", results.Ranks).chosen == round_name


def tracks(origin: Origin, count: int) -> str:
    """The tracks of the real score."""
    if not was_evaluated(origin.round_name):
        return "exploring tracks"
    return f"real tracks, seeds {origin.evaluation_seed} to {origin.evaluation_seed + count - 1}"


def real_data(prev: str, timing: Timing) -> tuple[int, int]:
    """Real drives kept for the models of the round after `prev`, and their frames."""
    records = [record for record in Shards(LATENTS / prev).records if not record.mirrored]
    return len(records), sum(timing.frames(record.length) for record in records)
