"""The latent z, drawn from what the encoder knows of it."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


def sample(
    mu: Float[Array, "*batch latent"], logvar: Float[Array, "*batch latent"], key: PRNGKeyArray
) -> Float[Array, "*batch latent"]:
    """z drawn from the encoder's normal distribution."""
    return with_noise(mu, logvar, jr.normal(key, mu.shape))


def with_noise(
    mu: Float[Array, "*batch latent"],
    logvar: Float[Array, "*batch latent"],
    noise: Float[Array, "*batch latent"],
) -> Float[Array, "*batch latent"]:
    """The z to which standard normal noise leads."""
    return mu + jnp.exp(logvar / 2) * noise
