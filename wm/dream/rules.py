"""The rules of a dream. dream.json stores those of an agent, and all of its dreams follow them."""

from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from wm.params.sampling import Sampling
from wm.params.section import Section

Variances = Annotated[  # a list in JSON
    tuple[NonNegativeFloat, ...],
    BeforeValidator(lambda read: tuple(read) if isinstance(read, list) else read),
]


class Rules(Section):
    """How a dream is sampled, and when a car counts as stuck.

    `sampling` names what becomes the next latent: a sample of the mixture ("sampled"), the mean of the most
    likely component ("mode"), the mean of the mixture ("mean"), or a sample without the encoder's noise
    ("denoised"). M is trained on samples from the encoder's distribution, so its mixtures contain that noise
    and the uncertainty about the road. While driving the agent sees the encoder's mean, without noise. The
    simulator makes bends of the noise: if it reads latents without, its roads are too straight.
    """

    temperature: PositiveFloat
    """divides the mixture's logits; its square root multiplies sigma"""
    stuck_steps: NonNegativeInt = Field(validation_alias=AliasChoices("stuck_steps", "patience"))
    """steps without a new tile after which a car counts as stuck for the rest of the dream, since dreams free
    cars that reality does not; 0: never. Early agents' files call it patience"""
    action_repeat: PositiveInt
    """frames that each action is held for"""
    sampling: Sampling = "sampled"
    """what becomes the next latent; early agents' files do not name it"""
    encoder_variance: Variances = Field(default=(), validate_default=True)
    """mean variance of the encoder in each latent dimension, if denoised"""
    noisy_simulator: bool = False
    """whether the simulator of a denoised dream reads latents with the encoder's noise; in dreams of early
    agents, whose files do not name it, it does not"""

    @field_validator("encoder_variance")
    @classmethod
    def _only_if_denoised(cls, variance: tuple[float, ...], info: Any) -> tuple[float, ...]:
        if bool(variance) != (info.data.get("sampling") == "denoised"):
            raise ValueError("expected numbers where sampling is 'denoised', and none elsewhere")
        return variance

    @property
    def denoised(self) -> bool:
        """Whether latents lack the encoder's noise."""
        return self.sampling == "denoised"

    @property
    def stored(self) -> dict[str, Any]:
        """The content of dream.json's `rules`: without what only denoised dreams have unless denoised."""
        return self.model_dump(exclude=None if self.denoised else {"encoder_variance", "noisy_simulator"})

    def replace(self, **changes: Any) -> "Rules":
        """The same rules except for `changes`."""
        return Rules(**(dict(self) | changes))
