"""Mixtures of Gaussians: one for each latent dimension (Ha & Schmidhuber 2018, A.2), or one over all of them
(Bishop 1994)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

MIN_VARIANCE = 1e-6  # of a component after `narrowed`


class Mixture(NamedTuple):
    """`logits` of the components (not normalised), their means and the logarithms of their sigmas.

    Each latent dimension has a mixture of its own, or, if the axis `choice` has length 1, all dimensions
    share the choice of the component. The latent axis is last, which makes sums over the components fast.
    """

    logits: Float[Array, "*batch mixture choice"]
    mean: Float[Array, "*batch mixture latent"]
    log_sigma: Float[Array, "*batch mixture latent"]


class Noise(NamedTuple):
    """The random numbers of a sample: standard Gumbel to choose the component (a joint mixture uses those of
    the first dimension), standard normal within it, and standard normal for the encoder's noise."""

    gumbel: Float[Array, "*batch mixture latent"]
    normal: Float[Array, "*batch latent"]
    encoder: Float[Array, "*batch latent"]


@jax.custom_vjp
def log_density(mixture: Mixture, z: Float[Array, "*batch latent"]) -> Float[Array, "*batch choice"]:
    """Natural logarithm of the density at `z`: of each dimension, or of a joint mixture.

    The derivative is our own: it is simple in the components' probabilities given z.
    """
    return _log_density_forward(mixture, z)[0]


def _log_density_forward(mixture: Mixture, z: Array) -> tuple[Array, Any]:
    precision = jnp.exp(-mixture.log_sigma)
    deviation = (z[..., None, :] - mixture.mean) * precision
    gaussian = -0.5 * (deviation**2 + jnp.log(2 * jnp.pi)) - mixture.log_sigma
    if mixture.logits.shape[-1] == 1:
        gaussian = gaussian.sum(axis=-1, keepdims=True)
    weight = jax.nn.log_softmax(mixture.logits, axis=-2)
    density = jax.nn.logsumexp(weight + gaussian, axis=-2)
    given_z = jnp.exp(weight + gaussian - density[..., None, :])
    return density, (jnp.exp(weight), given_z, deviation, precision)


def _log_density_backward(saved: Any, slope: Array) -> tuple[Mixture, Array]:
    weight, given_z, deviation, precision = saved
    slope = slope[..., None, :]
    into_mean = slope * given_z * deviation * precision
    into_log_sigma = slope * given_z * (deviation**2 - 1)
    return Mixture(slope * (given_z - weight), into_mean, into_log_sigma), -into_mean.sum(axis=-2)


log_density.defvjp(_log_density_forward, _log_density_backward)


def draw_noise(key: PRNGKeyArray, shape: tuple[int, ...], mixtures: int) -> Noise:
    """Noise for samples of shape (..., latent)."""
    gumbel_key, normal_key = jr.split(key)
    gumbel = jr.gumbel(gumbel_key, (*shape[:-1], mixtures, shape[-1]))
    return Noise(gumbel, jr.normal(normal_key, shape), jr.normal(jr.fold_in(key, 2), shape))


def sample(
    mixture: Mixture, noise: Noise, temperature: Float[Array, ""] | float
) -> Float[Array, "*batch latent"]:
    """A sample; the temperature divides the logits, and its square root multiplies sigma."""
    mean, log_sigma = _chosen_component(mixture, noise, temperature)
    return mean + jnp.exp(log_sigma) * jnp.sqrt(temperature) * noise.normal


def sample_denoised(
    mixture: Mixture, noise: Noise, temperature: Float[Array, ""] | float, variance: Float[Array, " latent"]
) -> tuple[Float[Array, "*batch latent"], Float[Array, "*batch latent"]]:
    """A sample of the `narrowed` mixture, and the same sample with the encoder's noise added again."""
    clean = sample(narrowed(mixture, variance), noise, temperature)
    _, log_sigma = _chosen_component(mixture, noise, temperature)
    removed = jnp.minimum(variance, jnp.exp(2 * log_sigma))
    return clean, clean + jnp.sqrt(removed) * noise.encoder


def _chosen_component(
    mixture: Mixture, noise: Noise, temperature: Float[Array, ""] | float
) -> tuple[Float[Array, "*batch latent"], Float[Array, "*batch latent"]]:
    """Mean and log sigma of the component that the noise chooses."""
    gumbel = noise.gumbel[..., : mixture.logits.shape[-1]]
    chosen = jnp.argmax(mixture.logits / temperature + gumbel, axis=-2, keepdims=True)
    one_hot = jnp.arange(mixture.logits.shape[-2])[:, None] == chosen
    mean = jnp.sum(jnp.where(one_hot, mixture.mean, 0), axis=-2)
    log_sigma = jnp.sum(jnp.where(one_hot, mixture.log_sigma, 0), axis=-2)
    return mean, log_sigma


def narrowed(mixture: Mixture, variance: Float[Array, " latent"]) -> Mixture:
    """The mixture without noise of this variance, which every component contains: it is subtracted from each
    component's variance, down to `MIN_VARIANCE`."""
    left = jnp.maximum(jnp.exp(2 * mixture.log_sigma) - variance, MIN_VARIANCE)
    return Mixture(mixture.logits, mixture.mean, jnp.log(left) / 2)


def mode(mixture: Mixture) -> Float[Array, "*batch latent"]:
    """The mean of the component with the greatest weight."""
    chosen = jnp.argmax(mixture.logits, axis=-2, keepdims=True)
    return jnp.take_along_axis(mixture.mean, chosen, axis=-2)[..., 0, :]


def expectation(mixture: Mixture) -> Float[Array, "*batch latent"]:
    """The mixture's mean."""
    return jnp.sum(jax.nn.softmax(mixture.logits, axis=-2) * mixture.mean, axis=-2)
