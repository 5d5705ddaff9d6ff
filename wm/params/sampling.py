"""The ways to take a dream's next latent from the predicted mixture; `wm.dream.rules` describes them."""

from typing import Literal

Sampling = Literal["sampled", "mode", "mean", "denoised"]
