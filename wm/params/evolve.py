"""The section `evolve`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from wm.params.sampling import Sampling
from wm.params.section import Section, distinct
from wm.spec import ACTION_BOX, DRIVES_PER_BATCH, within

Span = Annotated[list[float], Field(min_length=2, max_length=2)]
Share = Annotated[float, Field(ge=0, le=1)]


class Search(Section):
    """A run of CMA-ES."""

    renamed: ClassVar[dict[str, str]] = {"last_std": "final_std", "narrow_from": "decay_start"}

    population: int = Field(ge=2)
    """candidates per generation"""
    generations: PositiveInt
    """number of generations"""
    sigma0: PositiveFloat
    """initial standard deviation of each parameter"""
    max_std: PositiveFloat
    """upper bound on each parameter's standard deviation; CMA-ES does not converge on a noisy fitness
    by itself"""
    final_std: PositiveFloat
    """value of max_std in the last generation; the bound falls geometrically"""
    decay_start: float = Field(ge=0, le=1)
    """share of the generations after which the bound begins to fall"""
    diagonal: bool
    """true: diagonal covariance matrix (sep-CMA-ES); false: a full one"""


class Updates(Section):
    """Gradient steps; 0: none."""

    from_zero: NonNegativeInt
    """from a zero controller, in rounds that search from scratch"""
    refine: NonNegativeInt
    """before CMA-ES, in every round"""


class LearningRate(Section):
    """Initial learning rate of Adam; decays to a hundredth along a cosine."""

    from_zero: PositiveFloat
    """from a zero controller"""
    refine: PositiveFloat
    """before CMA-ES"""


class MissedTileCost(Section):
    """Points subtracted per missed tile, in addition to the lost reward."""

    from_zero: NonNegativeFloat
    """in the ascent from a zero controller; a car that stands still misses no tile, so a high cost teaches it
    to stand still"""
    refine: NonNegativeFloat
    """before and in CMA-ES"""


class Ascent(Section):
    """Gradient ascent of the fitness, with which each search begins."""

    updates: Updates
    """gradient steps; 0: none"""
    learning_rate: LearningRate
    """initial learning rate of Adam; decays to a hundredth along a cosine"""
    dreams: PositiveInt
    """dreams per gradient step"""
    horizon_steps: PositiveInt
    """steps of each dream; gradients of long dreams explode"""
    gradient_clip: PositiveFloat
    """norm at which the gradient of each dream is clipped"""


class OffTrackShares(Section):
    """Shares of dreams that start around an off-track event of a real drive; one search per share."""

    search: Annotated[list[Share], AfterValidator(distinct)] = Field(min_length=1)
    """in rounds that search from scratch"""
    refine: Annotated[list[Share], AfterValidator(distinct)] = Field(min_length=1)
    """in rounds that refine; of the searches within one standard error of the best search score, the one with
    the largest share is kept; a search score is the mean of whole dreams sampled as in evolution"""


class ActionLimits(Section):
    """[lowest, highest] of each action."""

    steering: Span
    """-1 is full left, 1 full right"""
    gas: Span
    """0 is none, 1 full"""
    brake: Span
    """0 is none, 1 full; wheels lock at 0.9, and a car that locks its wheels on grass may never leave it"""

    @field_validator("*")
    @classmethod
    def _within(cls, span: list[float], info: Any) -> list[float]:
        bounds = dict(zip(cls.model_fields, ACTION_BOX, strict=True))[str(info.field_name)]
        if not within([span], [bounds]):
            raise ValueError(f"expected [lowest, highest] within {list(bounds)}")
        return span

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Those of steering, gas and brake."""
        return tuple((low, high) for low, high in (self.steering, self.gas, self.brake))


class Evolve(Section):
    """Evolution of C, the controller, in dreams."""

    renamed: ClassVar[dict[str, str]] = {
        "rounds_from_zero": "from_scratch_rounds",
        "lap_steps": "fastest_lap_steps",
        "missed_cost": "missed_tile_cost",
        "patience_steps": "stuck_steps",
        "components": "principal_components",
        "trouble_share": "off_track_share",
        "limits": "action_limits",
        "pedals": "pedal_activation",
    }
    removed: ClassVar[tuple[str, ...]] = ("last_steps", "rest_steps", "steering_cost", "warm_start")

    seed: NonNegativeInt
    """seed of the search and of the dreams"""
    from_scratch_rounds: NonNegativeInt
    """number of first rounds whose search starts from a zero controller; later rounds refine the previous
    round's controller"""
    search: Search
    """CMA-ES in a round that starts from scratch"""
    refine: Search
    """CMA-ES in a round that refines the previous controller"""
    ascent: Ascent
    """gradient ascent of the fitness, with which each search begins"""
    rollouts: PositiveInt
    """dreams per candidate and generation"""
    horizon_steps: PositiveInt
    """steps of each dream"""
    value_steps: PositiveInt
    """steps after the horizon whose points the terminal value predicts"""
    fastest_lap_steps: PositiveInt
    """steps of the fastest lap that is rewarded: a dream earns at most the points that such a lap would in
    horizon_steps"""
    temperature: PositiveFloat
    """temperature of all dreams: divides the mixture's logits; its square root multiplies sigma"""
    sampling: Sampling
    """how dreams of evolution and of search scores take the next latent from the mixture: sampled; denoised
    (sampled; the agent does not see the encoder's noise, as on the track); mode; or mean"""
    missed_tile_cost: MissedTileCost
    """points subtracted per missed tile, in addition to the lost reward"""
    cvar_level: float = Field(gt=0, le=1)
    """a candidate's fitness is the mean of this share of its dreams, the worst ones; 1: all"""
    stuck_steps: NonNegativeInt
    """steps without a new tile after which a dreamt car is stuck and earns nothing more; 0: never"""
    dropout: float = Field(ge=0, lt=1)
    """dropout rate of the simulator's z and hidden state during evolution"""
    principal_components: PositiveInt
    """principal components of (z, h) in which the controller's weights are searched"""
    precision: Literal["float32", "bfloat16"]
    """the same as train_rnn.precision, for evolution"""
    newest_share: float = Field(ge=0, le=1)
    """the same as train_rnn.newest_share, for the drives that dreams start from"""
    off_track_share: OffTrackShares
    """shares of dreams that start around an off-track event of a real drive; one search per share"""
    off_track_lead: Annotated[list[int], Field(min_length=2, max_length=2)]
    """frames from the start of such a dream to the event, [fewest, most]; negative: after the event, from
    where the controller learns to return"""
    start_episodes: PositiveInt
    """number of real drives that dreams start from"""
    starts_per_episode: PositiveInt
    """start states taken from each of these drives"""
    snapshot_every: PositiveInt
    """generations between two snapshots of the controller"""
    score_episodes: PositiveInt
    """whole dreamt episodes that a search score or a dream score averages over"""
    score_sampling: Sampling
    """the same as sampling, for the dream score"""
    action_limits: ActionLimits
    """[lowest, highest] of each action"""
    pedal_activation: Literal["sigmoid", "tanh"]
    """activation of gas and brake: sigmoid, or tanh, whose negative half is clipped away"""

    def refines(self, rounds: int) -> bool:
        """Whether a round with `rounds` rounds before it refines the previous controller."""
        return rounds >= self.from_scratch_rounds

    def searches(self, rounds: int) -> tuple[Search, list[float]]:
        """CMA-ES in a round with `rounds` rounds before it, and the off-track share of each search."""
        if self.refines(rounds):
            return self.refine, self.off_track_share.refine
        return self.search, self.off_track_share.search

    def dream_steps(self, rounds: int) -> int:
        """Steps of all dreams in all searches of a round with `rounds` rounds before it."""
        search, shares = self.searches(rounds)
        ascent, updates = self.ascent, self.ascent.updates.refine
        if not self.refines(rounds):
            updates += self.ascent.updates.from_zero
        steps = search.generations * search.population * self.rollouts * self.horizon_steps
        return len(shares) * (steps + updates * ascent.dreams * ascent.horizon_steps)

    @field_validator("off_track_lead")
    @classmethod
    def _ascending(cls, lead: list[int]) -> list[int]:
        if lead[0] >= lead[1]:
            raise ValueError("expected [fewest, most], the first number smaller than the second")
        return lead

    @property
    def start_states(self) -> int:
        """Number of start states of dreams: those of whole batches of drives."""
        batch = min(DRIVES_PER_BATCH, self.start_episodes)
        return self.start_episodes // batch * batch * self.starts_per_episode
