"""The dream: an RNN run on its own samples. Pure functions, batched by their leading axes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wm.models import mdn, rnn
from wm.models.rnn import RNN, Masks, Memory
from wm.spec import FRAME_REWARD


class State(NamedTuple):
    """Where a dream is: what is seen, and what simulator and watcher remember of what came before."""

    z: Float[Array, "*batch latent"]
    memory: Memory
    watched: Memory


class Outcome(NamedTuple):
    """What one dreamt step brought: points, tiles gone past untouched, and the probability that it ended
    in failure."""

    reward: Float[Array, "*batch"]
    missed: Float[Array, "*batch"]
    failure: Float[Array, "*batch"]


class Rules(NamedTuple):
    """What holds in a dream: its temperature, after how many steps that won no tile a car counts as stuck
    for good (0: never; dreams free cars that reality does not), and what is taken for the next latent:
    a draw from the mixture ("sampled"), its most likely component's mean ("mode"), its "mean", or a draw
    without the noise of the encoder ("denoised"), of variance `encoder_variance` in each dimension.

    M learns from draws of the encoder's, so that its mixtures hold the encoder's noise beside all that is
    uncertain of the road; at the wheel the agent sees the encoder's mean, which has none.
    """

    temperature: float
    patience: int
    action_repeat: int
    sampling: str = "sampled"
    encoder_variance: tuple[float, ...] = ()

    @property
    def denoised(self) -> bool:
        """Whether latents are seen without the encoder's noise."""
        return self.sampling == "denoised"

    @property
    def described(self) -> dict[str, Any]:
        """As files hold them: the encoder's variance where it is left out."""
        rules = self._asdict()
        return rules if self.denoised else {name: rules[name] for name in rules if name != "encoder_variance"}

    def next_latent(self, mixture: mdn.Mixture, noise: mdn.Noise) -> Float[Array, "*batch latent"]:
        """What follows, by the rules."""
        if self.sampling == "mean":
            return mdn.expectation(mixture)
        if self.sampling == "mode":
            return mdn.mode(mixture)
        if self.denoised:
            mixture = mdn.narrowed(mixture, jnp.asarray(self.encoder_variance))
        return mdn.sample(mixture, noise, self.temperature)


def step(
    simulator: RNN,
    watcher: RNN,
    state: State,
    action: Float[Array, "*batch action"],
    noise: mdn.Noise,
    rules: Rules,
    masks: Masks | None = None,
) -> tuple[State, Outcome]:
    """One step of the dream under `action`; dropout masks are the simulator's alone."""
    memory = rnn.step(simulator, state.z, action, state.memory, masks)
    expected = simulator.predict(memory.hidden)
    z = rules.next_latent(expected.mixture, noise)
    watched = rnn.step(watcher, state.z, action, state.watched)
    outcome = Outcome(expected.reward, expected.missed, jax.nn.sigmoid(expected.done_logit))
    return State(z, memory, watched), outcome


def without_miracles(outcome: Outcome, rules: Rules) -> Outcome:
    """The outcome, time first, in which a car that is stuck for good wins nothing more."""
    if rules.patience == 0:
        return outcome
    idle = FRAME_REWARD * rules.action_repeat
    won = jnp.cumsum(outcome.reward - idle, axis=0)
    lately = won[rules.patience :] - won[: -rules.patience]
    early = jnp.zeros_like(won[: rules.patience], bool)
    stuck = jnp.cumsum(jnp.concatenate([early, lately < rnn.REWARD_UNIT]), axis=0) > 0
    return Outcome(*(jnp.where(stuck, rest, part) for rest, part in zip((idle, 0, 0), outcome, strict=True)))
