// The models and the dream of wm/ in JavaScript: wm/models (rnn.py, mdn.py, vae.py, controller.py) and
// wm/dream/dynamics.py. Pure computation without clock, page or random numbers; tests/test_web.py compares it with JAX.
"use strict";

/**
 * @typedef {{shape: number[], values: Float32Array}} Tensor  row-major
 * @typedef {{hidden: Float32Array, cell: Float32Array}} Memory  (hidden)
 * @typedef {{logits: Float32Array, mean: Float32Array, logSigma: Float32Array}} Mixture  (mixture, latent) each, or
 *   logits (mixture, 1): one choice of component for all latents
 * @typedef {{gumbel: Float32Array, normal: Float32Array, encoder: Float32Array}} Noise  (mixture, latent), (latent) and
 *   (latent); `encoder` is for denoised dreams alone
 */

const ACTION_SIZE = 3;

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

/** The bytes of a base64 string. */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The value of an IEEE 754 half-precision number. */
function halfToNumber(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * A tensor of the page as floats.
 * @param {{shape: number[], kind: string, data: string, scale?: string}} packed  int8 has one scale per column
 * @returns {Tensor}
 */
function unpacked({ shape, kind, data, scale }) {
  const { buffer } = bytesOf(data);
  if (kind === "float32") return { shape, values: new Float32Array(buffer) };
  if (kind === "float16") return { shape, values: Float32Array.from(new Uint16Array(buffer), halfToNumber) };
  const scales = new Float32Array(bytesOf(scale).buffer);
  return { shape, values: Float32Array.from(new Int8Array(buffer), (code, i) => code * scales[i % scales.length]) };
}

/** The transpose of a (rows, columns) tensor. */
function transposed({ shape: [rows, columns], values }) {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column];
  }
  return result;
}

/**
 * out[at + i] = bias[i] + sum_j weight[i, j] x[j], four rows at a time, so that each x[j] is read once per four rows.
 * @param {Float32Array} weight (bias.length, x.length)
 */
function affine(out, at, weight, bias, x) {
  const width = x.length;
  const rows = bias.length;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    const first = row * width;
    const second = first + width;
    const third = second + width;
    const fourth = third + width;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let j = 0; j < width; j++) {
      const value = x[j];
      a += value * weight[first + j];
      b += value * weight[second + j];
      c += value * weight[third + j];
      d += value * weight[fourth + j];
    }
    out[at + row] = bias[row] + a;
    out[at + row + 1] = bias[row + 1] + b;
    out[at + row + 2] = bias[row + 2] + c;
    out[at + row + 3] = bias[row + 3] + d;
  }
  for (; row < rows; row++) {
    let sum = bias[row];
    for (let j = 0; j < width; j++) sum += x[j] * weight[row * width + j];
    out[at + row] = sum;
  }
}

/** An LSTM; a simulator also has a linear head for mixture, reward and done (`RNN` of wm/models/rnn.py). */
class RNN {
  /** @param {(name: string) => Tensor | undefined} tensor  input_weight, hidden_weight, gate_bias, head_... */
  constructor(tensor, { mixtures, reward_unit, min_log_sigma }) {
    this.inputWeight = transposed(tensor("input_weight"));
    this.hiddenWeight = transposed(tensor("hidden_weight"));
    this.gateBias = tensor("gate_bias").values;
    this.hiddenSize = tensor("hidden_weight").shape[0];
    this.latents = tensor("input_weight").shape[0] - ACTION_SIZE;
    this.noBias = new Float32Array(4 * this.hiddenSize);
    this.gates = new Float32Array(4 * this.hiddenSize);
    this.recurrent = new Float32Array(4 * this.hiddenSize);
    this.head = tensor("head_weight") && { weight: transposed(tensor("head_weight")), bias: tensor("head_bias").values };
    Object.assign(this, { mixtures, rewardUnit: reward_unit, minLogSigma: min_log_sigma });
  }

  /** @returns {Memory} before the first step */
  start() {
    return { hidden: new Float32Array(this.hiddenSize), cell: new Float32Array(this.hiddenSize) };
  }

  /**
   * The memory after (z, action).
   * @param {Float32Array} input (latent + action)
   * @param {Memory} memory
   * @returns {Memory}
   */
  step(input, memory) {
    const size = this.hiddenSize;
    const { gates, recurrent } = this;
    affine(gates, 0, this.inputWeight, this.gateBias, input);
    affine(recurrent, 0, this.hiddenWeight, this.noBias, memory.hidden);
    const gate = (which, i) => gates[which * size + i] + recurrent[which * size + i];
    const after = this.start();
    for (let i = 0; i < size; i++) {
      const remembered = sigmoid(gate(1, i)) * memory.cell[i];
      after.cell[i] = remembered + sigmoid(gate(0, i)) * Math.tanh(gate(3, i));
      after.hidden[i] = sigmoid(gate(2, i)) * Math.tanh(after.cell[i]);
    }
    return after;
  }

  /**
   * The prediction from a memory: the mixture of the next latent, the reward in points, the number of missed tiles, the
   * probability of a failure.
   * @param {Float32Array} hidden (hidden)
   * @returns {{mixture: Mixture, reward: number, missed: number, failure: number}}
   */
  predict(hidden) {
    const out = new Float32Array(this.head.bias.length);
    affine(out, 0, this.head.weight, this.head.bias, hidden);
    const part = this.mixtures * this.latents;
    const end = out.length - 3; // of the mixture; then come reward, missed tiles and done
    const [logits, mean] = [out.subarray(0, end - 2 * part), out.subarray(end - 2 * part, end - part)];
    const logSigma = out.subarray(end - part, end).map((value) => Math.max(value, this.minLogSigma));
    const [reward, missed, failure] = [this.rewardUnit * out[end], out[end + 1], sigmoid(out[end + 2])];
    return { mixture: { logits, mean, logSigma }, reward, missed, failure };
  }
}

/**
 * A latent drawn from the mixture, without and with the encoder's noise (`sample` and `sample_denoised` of
 * wm/models/mdn.py); temperature divides the logits and multiplies sigma by its square root.
 * @param {Mixture} mixture
 * @param {Noise} noise
 * @param {{variance: number[], leastVariance: number}} encoderNoise  its variance (latent), empty if both latents
 *   are to have it; the least variance of a component without it
 * @returns {{z: Float32Array, noisy: Float32Array}} (latent) each
 */
function sample({ logits, mean, logSigma }, { gumbel, normal, encoder }, temperature, { variance, leastVariance }) {
  const size = normal.length;
  const choices = (logits.length * size) / mean.length;
  const [z, noisy] = [new Float32Array(size), new Float32Array(size)];
  for (let i = 0; i < size; i++) {
    const choice = i % choices;
    const logit = (k) => logits[k * choices + choice] / temperature + gumbel[k * size + choice];
    let best = 0;
    for (let k = 1; k * size < mean.length; k++) if (logit(k) > logit(best)) best = k;
    const at = best * size + i;
    const whole = Math.exp(2 * logSigma[at]);
    const left = variance.length ? Math.max(whole - variance[i], leastVariance) : whole;
    z[i] = mean[at] + Math.sqrt(left * temperature) * normal[i];
    noisy[i] = variance.length ? z[i] + Math.sqrt(Math.min(whole, variance[i])) * encoder[i] : z[i];
  }
  return { z, noisy };
}

/**
 * The uncertainty of a mixture, as means over the latents: `sigma`, the weighted mean of sigma, and `entropy`, that of
 * the weights in nats.
 * @param {Mixture} mixture
 */
function spread({ logits, logSigma }, latents) {
  const choices = (logits.length * latents) / logSigma.length;
  let sigma = 0;
  let entropy = 0;
  for (let i = 0; i < latents; i++) {
    const choice = i % choices;
    let greatest = -Infinity;
    for (let k = choice; k < logits.length; k += choices) greatest = Math.max(greatest, logits[k]);
    let total = 0;
    for (let k = choice; k < logits.length; k += choices) total += Math.exp(logits[k] - greatest);
    for (let k = 0; k * latents < logSigma.length; k++) {
      const weight = Math.exp(logits[k * choices + choice] - greatest) / total;
      sigma += weight * Math.exp(logSigma[k * latents + i]);
      entropy -= weight > 0 ? weight * Math.log(weight) : 0;
    }
  }
  return { sigma: sigma / latents, entropy: entropy / latents };
}

/**
 * A transposed convolution of kernel 4, stride 2 and padding 1, with bias (`ConvTranspose` of wm/models/vae.py).
 * Every 2 x 2 inputs give 2 x 2 outputs, each by its own matrix.
 */
class Upsample {
  /** @param {Tensor} kernel (4, 4, out, channel) */
  constructor(kernel, bias) {
    [, , this.out, this.channels] = kernel.shape;
    this.bias = bias.values;
    this.weights = [0, 1, 2, 3].map((which) => this.weightOf(kernel, which >> 1, which & 1));
    this.patch = new Float32Array(4 * this.channels);
  }

  /** The matrix (out, 2 * 2 * channel) of the outputs in odd or even rows (`down`) and columns (`across`). */
  weightOf({ values }, down, across) {
    const { out, channels } = this;
    const weight = new Float32Array(out * 4 * channels);
    for (let tap = 0; tap < 4; tap++) {
      const y = 3 - down - 2 * (tap >> 1);
      const x = 3 - across - 2 * (tap & 1);
      for (let o = 0; o < out; o++) {
        const from = ((y * 4 + x) * out + o) * channels;
        weight.set(values.subarray(from, from + channels), (o * 4 + tap) * channels);
      }
    }
    return weight;
  }

  /**
   * @param {Float32Array} x (side, side, channel)
   * @returns {Float32Array} (2 * side, 2 * side, out)
   */
  apply(x, side) {
    const result = new Float32Array(4 * side * side * this.out);
    for (let top = -1; top < side; top++) {
      for (let left = -1; left < side; left++) {
        this.copyPatch(x, side, top, left);
        for (let which = 0; which < 4; which++) {
          const row = 2 * top + 2 - (which >> 1);
          const column = 2 * left + 2 - (which & 1);
          if (row < 0 || column < 0 || row >= 2 * side || column >= 2 * side) continue;
          affine(result, (row * 2 * side + column) * this.out, this.weights[which], this.bias, this.patch);
        }
      }
    }
    return result;
  }

  /** Copies the 2 x 2 inputs at (top, left) to `patch`, with zeros outside the input. */
  copyPatch(x, side, top, left) {
    for (let tap = 0; tap < 4; tap++) {
      const row = top + (tap >> 1);
      const column = left + (tap & 1);
      const at = tap * this.channels;
      if (row < 0 || column < 0 || row >= side || column >= side) this.patch.fill(0, at, at + this.channels);
      else {
        const from = (row * side + column) * this.channels;
        this.patch.set(x.subarray(from, from + this.channels), at);
      }
    }
  }
}

/** From a latent to its picture (`VAE.decode` of wm/models/vae.py). */
class Decoder {
  constructor(tensor, { widths, tones }) {
    this.tones = tones;
    this.weight = tensor("from_latent.weight").values;
    this.bias = tensor("from_latent.bias").values;
    this.up = widths.map((_, i) => new Upsample(tensor(`up.${i}.kernel`), tensor(`up.${i}.bias`)));
    this.side = Math.sqrt(this.bias.length / widths[widths.length - 1]);
  }

  /**
   * @param {Float32Array} z (latent)
   * @returns {Float32Array} (64, 64, 3) in [0, 1]
   */
  decode(z) {
    let x = new Float32Array(this.bias.length);
    affine(x, 0, this.weight, this.bias, z);
    let { side } = this;
    this.up.forEach((up, i) => {
      x = up.apply(x, side);
      side *= 2;
      const last = i === this.up.length - 1;
      for (let j = 0; j < x.length; j++) x[j] = last ? sigmoid(x[j]) : Math.max(x[j], 0);
    });
    return x.map((value) => this.denormalise(value));
  }

  /** The pixel value in [0, 1] that the tone curve maps to `toned` (`denormalise` of wm/models/vae.py). */
  denormalise(toned) {
    let value = 0;
    for (let i = 1; i < this.tones.length; i++) {
      const [start, low] = this.tones[i - 1];
      const [end, high] = this.tones[i];
      value += ((clamp(255 * toned, low, high) - low) * (end - start)) / (high - low) / 255;
    }
    return value;
  }
}

/** The linear policy on the latent and the watcher's hidden state (`Controller` of wm/models/controller.py). */
class Controller {
  constructor(tensor, { limits, pedals }) {
    this.weight = tensor("weight").values;
    this.bias = tensor("bias").values;
    this.limits = limits;
    this.pedal = pedals === "tanh" ? Math.tanh : sigmoid;
  }

  /** @returns {Float32Array} steering, gas, brake */
  act(z, hidden) {
    const raw = new Float32Array(3);
    affine(raw, 0, this.weight, this.bias, Float32Array.from([...z, ...hidden]));
    return raw.map((value, i) => clamp(i === 0 ? Math.tanh(value) : this.pedal(value), ...this.limits[i]));
  }
}

/** The models of a page, from the content that `wm export-web` wrote into it. */
class Models {
  constructor({ tensors, sizes }) {
    // the noise that the agent does not see, and, unless `noisySimulator`, nor do the simulators
    this.encoderNoise = { variance: sizes.encoder_variance, leastVariance: sizes.least_variance };
    this.noisySimulator = sizes.noisy_simulator;
    const byName = new Map(tensors.map((packed) => [packed.name, unpacked(packed)]));
    const within = (part) => (name) => byName.get(`${part}.${name}`);
    this.simulators = Array.from({ length: sizes.simulators }, (_, i) => new RNN(within(`simulator${i}`), sizes));
    this.watcher = this.simulators.at(-1); // the agent's own RNN
    this.controller = new Controller(within("controller"), sizes);
    this.decoder = new Decoder(within("decoder"), sizes);
  }
}

/** One dream from a first latent: the current latent as the agent sees it and as the simulator reads it, and the
 * memories of simulator and watcher (`step` of wm/dream/dynamics.py). */
class Dream {
  /**
   * @param {Float32Array} z (latent)
   * @param {Float32Array} noisy (latent)
   */
  constructor(models, simulator, z, noisy) {
    Object.assign(this, { models, simulator, z, noisy });
    this.memory = simulator.start();
    this.watched = models.watcher.start();
  }

  /** The agent's action: steering, gas, brake. */
  agentAction() {
    return this.models.controller.act(this.z, this.watched.hidden);
  }

  /**
   * One step under an action; afterwards `z` is the next latent.
   * @param {Float32Array} action (3)
   * @param {Noise} noise
   */
  step(action, noise, temperature) {
    this.memory = this.simulator.step(Float32Array.from([...this.noisy, ...action]), this.memory);
    const { mixture, reward, missed, failure } = this.simulator.predict(this.memory.hidden);
    this.watched = this.models.watcher.step(Float32Array.from([...this.z, ...action]), this.watched);
    const { z, noisy } = sample(mixture, noise, temperature, this.models.encoderNoise);
    Object.assign(this, { z, noisy: this.models.noisySimulator ? noisy : z });
    return { reward, missed, failure, ...spread(mixture, this.z.length) };
  }
}

/**
 * The bookkeeping of one episode, step by step (`Progress`, `begin` and `count` of wm/dream/dynamics.py), and its expected
 * score (`returns` of wm/dream/scoring.py).
 */
class Episode {
  constructor(rules, warmUpReward) {
    this.rules = rules;
    this.idle = rules.frame_reward * rules.action_repeat; // reward of a step that visits no tile
    this.lastStep = Math.ceil((rules.frames_per_episode - rules.warm_up_frames) / rules.action_repeat);
    this.steps = 0;
    this.frames = rules.warm_up_frames;
    this.tilePoints = warmUpReward - rules.frame_reward * rules.warm_up_frames;
    this.missed = 0; // tiles
    this.recent = []; // tile points of each of the last `stuck_steps` steps
    this.stuck = false;
    this.score = warmUpReward;
    this.survival = 1; // probability that no failure has happened
  }

  /** The number of whole tiles missed. */
  get wholeMissed() {
    return Math.floor(Math.max(this.missed, 0));
  }

  /** Whether every tile is visited or missed. */
  get passed() {
    return this.tilePoints + this.rules.tile_points * this.wholeMissed >= this.rules.lap_points;
  }

  get lap() {
    return this.passed && this.wholeMissed === 0;
  }

  get over() {
    return this.lap || this.steps >= this.lastStep;
  }

  /** Counts a step: a failure costs its fine and all later rewards, weighted with its probability. */
  count({ reward, missed, failure }) {
    const { action_repeat, frames_per_episode, failure_reward } = this.rules;
    this.steps += 1;
    this.frames = Math.min(this.frames + action_repeat, frames_per_episode);
    this.updateStuck(reward);
    if (this.stuck) [reward, missed, failure] = [this.idle, 0, 0];
    const before = this.survival;
    this.survival *= 1 - failure;
    this.score += this.survival * reward + (before - this.survival) * failure_reward;
    this.tilePoints += reward - this.idle;
    this.missed += missed;
    this.stuck ||= this.passed && !this.lap;
  }

  /** A car without a new tile for more than `stuck_steps` steps is stuck for the rest of the episode. */
  updateStuck(reward) {
    const { stuck_steps, stuck_below } = this.rules;
    if (stuck_steps === 0) return;
    this.recent.push(reward - this.idle);
    if (this.recent.length > stuck_steps) this.recent.shift();
    const sum = this.recent.reduce((total, points) => total + points, 0);
    this.stuck ||= this.steps > stuck_steps && sum < stuck_below;
  }
}
