"""The section `train_rnn`."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from wm.params.section import Section


class TrainRNN(Section):
    """Training of M, the MDN-RNN, in every round."""

    renamed: ClassVar[dict[str, str]] = {
        "first_steps": "first_round_steps",
        "missed_weight": "missed_tile_weight",
    }

    seed: NonNegativeInt
    """seed of batches and noise"""
    first_round_steps: PositiveInt
    """gradient steps in the first round, which starts from untrained RNNs"""
    steps: PositiveInt
    """gradient steps in every later round"""
    first_round_batch_size: PositiveInt
    """windows per batch in the first round, each at a random place of a drive"""
    batch_size: PositiveInt
    """the same in every later round"""
    first_round_window_steps: PositiveInt
    """steps of a window in the first round; a drive that is shorter is padded"""
    window_steps: PositiveInt
    """the same in every later round"""
    first_round_learning_rate: PositiveFloat
    """initial learning rate of Adam in the first round; decays to a hundredth along a cosine"""
    learning_rate: PositiveFloat
    """the same in every later round"""
    gradient_clip: PositiveFloat
    """global norm at which gradients are clipped"""
    reward_weight: NonNegativeFloat
    """weight in the loss of the squared error of the head that predicts the reward"""
    missed_tile_weight: NonNegativeFloat
    """weight of the squared error of the head that predicts the number of missed tiles"""
    done_weight: NonNegativeFloat
    """weight of the cross-entropy of the head that predicts failure"""
    dropout: float = Field(ge=0, lt=1)
    """dropout rate of z and the hidden state; one mask per drive"""
    precision: Literal["float32", "bfloat16"]
    """precision of the matrix products, float32 or bfloat16; an x86 CPU without AVX-512 uses float32"""
    newest_share: float = Field(ge=0, le=1)
    """share of training drives from the newest round; the round before it provides this share of the rest,
    and so on"""
    log_every: PositiveInt
    """gradient steps between two rows of train_rnn.csv"""
    validation_episodes: PositiveInt
    """number of drives on validation tracks in the validation loss"""

    def schedule(self, *, first: bool) -> tuple[int, float]:
        """Gradient steps and initial learning rate of the first round or of a later one."""
        if first:
            return self.first_round_steps, self.first_round_learning_rate
        return self.steps, self.learning_rate

    def batch(self, *, first: bool) -> tuple[int, int]:
        """Windows per batch and steps of a window in the first round or in a later one."""
        if first:
            return self.first_round_batch_size, self.first_round_window_steps
        return self.batch_size, self.window_steps
