"""The searches of a round, as params.yaml describes them."""

from dataclasses import replace
from typing import Literal

from wm.dream.dynamics import Dream, Rules
from wm.models.controller import Controller
from wm.models.value import Value
from wm.params.environment import Environment
from wm.params.evolve import Ascent as AscentSettings
from wm.params.evolve import Evolve
from wm.params.sampling import Sampling
from wm.runtime import devices
from wm.search.ascent import Ascent
from wm.search.cma_es import Schedule
from wm.search.evolution import Chance
from wm.search.fitness import Goal, Objective
from wm.search.payoff import Payoff
from wm.search.real_drives import DriveSample
from wm.search.round_search import Inputs, RoundSearch
from wm.search.space import Candidates
from wm.search.terminal_value import ValueTarget, terminal_values


def of_round(
    settings: Evolve,
    environment: Environment,
    inputs: Inputs,
    drives: DriveSample,
    schedule: Schedule,
    chance: Chance,
) -> RoundSearch:
    """What the searches of the round have in common."""
    cost = settings.missed_tile_cost.refine
    payoff = Payoff(settings.fastest_lap_steps, cost, environment.action_repeat)
    objective = Objective(
        payoff=payoff,
        rollouts=settings.rollouts,
        horizon_steps=settings.horizon_steps,
        cvar_level=settings.cvar_level,
        dropout=settings.dropout,
        precision=devices.precision(settings.precision),
    )
    dream = dreams(settings, environment, inputs, drives, settings.sampling)
    goal = Goal(dream, values_of(settings, payoff, dream, drives, chance), objective)
    limits, pedals = settings.action_limits.pairs, settings.pedal_activation
    zero = Controller(features=inputs.features, limits=limits, pedals=pedals)
    candidates = Candidates(zero, inputs.previous, settings.principal_components)
    return RoundSearch(
        goal=goal,
        candidates=candidates,
        ascent=ascent_of(settings.ascent, "refine"),
        schedule=schedule,
        snapshot_every=settings.snapshot_every,
        chance=chance,
    )


def from_zero(settings: Evolve, searches: RoundSearch, drives: DriveSample) -> RoundSearch:
    """The same searches at the lower cost of missed tiles, for the ascent from a zero controller."""
    objective = searches.goal.objective
    payoff = replace(objective.payoff, missed_tile_cost=settings.missed_tile_cost.from_zero)
    goal = replace(
        searches.goal,
        values=values_of(settings, payoff, searches.goal.dream, drives, searches.chance),
        objective=replace(objective, payoff=payoff),
    )
    return replace(searches, goal=goal, ascent=ascent_of(settings.ascent, "from_zero"))


def values_of(
    settings: Evolve, payoff: Payoff, dream: Dream, drives: DriveSample, chance: Chance
) -> list[Value]:
    """The terminal value of each simulator."""
    target = ValueTarget(payoff, settings.value_steps)
    return terminal_values(dream.simulators, target, drives, chance.start_key)


def ascent_of(settings: AscentSettings, which: Literal["from_zero", "refine"]) -> Ascent:
    """The gradient ascent from a zero controller, or before CMA-ES."""
    return Ascent(
        updates=getattr(settings.updates, which),
        dreams=settings.dreams,
        horizon_steps=settings.horizon_steps,
        learning_rate=getattr(settings.learning_rate, which),
        gradient_clip=settings.gradient_clip,
    )


def dreams(
    settings: Evolve, environment: Environment, inputs: Inputs, drives: DriveSample, sampling: Sampling
) -> Dream:
    """The round's dreams, in which `sampling` names what becomes the next latent."""
    rules = Rules(
        temperature=settings.temperature,
        stuck_steps=settings.stuck_steps,
        action_repeat=environment.action_repeat,
        sampling=sampling,
        encoder_variance=drives.encoder_variance() if sampling == "denoised" else (),
        noisy_simulator=sampling == "denoised",
    )
    return Dream(inputs.rnns.simulators, inputs.rnns.own, rules, environment.warm_up_frames)
