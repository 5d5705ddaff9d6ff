"""The section `train_vae`."""

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from wm.params.section import Section
from wm.spec import MAX_CONVOLUTIONS, TONE_CURVE_RULE, is_tone_curve

TonePoint = Annotated[list[int], Field(min_length=2, max_length=2)]


class TrainVAE(Section):
    """Training of V, the VAE."""

    renamed: ClassVar[dict[str, str]] = {
        "tones": "tone_curve",
        "buffer_episodes": "shuffle_buffer_episodes",
    }
    removed: ClassVar[tuple[str, ...]] = ("brightest",)

    seed: NonNegativeInt
    """seed of weights, batches and noise"""
    latent_size: PositiveInt
    """dimensions of the latent z"""
    widths: Annotated[list[PositiveInt], Field(min_length=1, max_length=MAX_CONVOLUTIONS)]
    """channels of the encoder's convolutions; the decoder mirrors them (paper: 32, 64, 128, 256)"""
    tone_curve: list[TonePoint]
    """piecewise linear map of pixel values, as [input, output] points; the default brightens road that is not
    yet driven"""
    steps: PositiveInt
    """gradient steps"""
    batch_size: PositiveInt
    """frames per batch"""
    shuffle_buffer_episodes: PositiveInt
    """drives whose frames are shuffled together"""
    learning_rate: PositiveFloat
    """initial learning rate of Adam; decays to a hundredth along a cosine"""
    gradient_clip: PositiveFloat
    """global norm at which gradients are clipped"""
    kl_weight: NonNegativeFloat
    """weight of the KL divergence in the loss"""
    log_every: PositiveInt
    """gradient steps between two rows of metrics/train_vae.csv"""
    validation_batches: PositiveInt
    """number of batches of frames from validation tracks in the validation loss"""

    @field_validator("tone_curve")
    @classmethod
    def _rising(cls, tones: list[list[int]]) -> list[list[int]]:
        if not is_tone_curve(tones):
            raise ValueError(f"expected {TONE_CURVE_RULE}")
        return tones
