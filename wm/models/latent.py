"""The latent z, drawn from what the encoder knows of it."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


def sample(
    mu: Float[Array, "*batch latent"], logvar: Float[Array, "*batch latent"], key: PRNGKeyArray
) -> Float[Array, "*batch latent"]:
    """z drawn from the encoder's normal distribution."""
    return mu + jnp.exp(logvar / 2) * jr.normal(key, mu.shape)
