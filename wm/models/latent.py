"""The latent z, sampled from the encoder's distribution."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


def sample(
    mu: Float[Array, "*batch latent"], logvar: Float[Array, "*batch latent"], key: PRNGKeyArray
) -> Float[Array, "*batch latent"]:
    """z sampled from the encoder's normal distribution."""
    return with_noise(mu, logvar, jr.normal(key, mu.shape))


def with_noise(
    mu: Float[Array, "*batch latent"],
    logvar: Float[Array, "*batch latent"],
    noise: Float[Array, "*batch latent"],
) -> Float[Array, "*batch latent"]:
    """z for given standard normal noise."""
    return mu + jnp.exp(logvar / 2) * noise
