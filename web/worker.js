// The worker of the page: it keeps time, computes each step of the dream and its pictures, and sends them to the page.
// It follows model.js in the same script.

const PICTURES_PER_SECOND = 25; // at least; between two steps the latents are interpolated
const KEY_GAS = 0.5; // while the key is pressed; with more gas the car is soon too fast for bends
const KEY_BRAKE = 0.5;

/** Random numbers, the same for the same seed (mulberry32). */
class RandomNumbers {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** Uniform in (0, 1). */
  uniform() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (((x ^ (x >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  }

  /** @returns {Float32Array} standard normal numbers (Box and Muller 1958) */
  normal(count) {
    const draw = () => Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
    return Float32Array.from({ length: count }, draw);
  }

  /** @returns {Float32Array} standard Gumbel numbers */
  gumbel(count) {
    return Float32Array.from({ length: count }, () => -Math.log(-Math.log(this.uniform())));
  }
}

/** One dream after another, each with its own random numbers, so that the same seed gives the same dreams. */
class Dreams {
  constructor(packed, seed) {
    this.models = new Models(packed);
    this.mixtures = packed.sizes.mixtures;
    Object.assign(this, { starts: packed.starts, rules: packed.rules, seed, number: -1 });
    this.temperature = this.rules.temperature;
    this.agentDrives = true;
    this.pedals = { left: false, right: false, gas: false, brake: false };
    this.restart();
  }

  /** A new dream from a random start frame. */
  restart() {
    this.number += 1;
    this.random = new RandomNumbers(Math.imul(this.seed + this.number, 0x9e3779b1));
    const { mu, logvar, warm_up_reward } = this.starts;
    this.start = Math.floor(this.random.uniform() * mu.length);
    const normal = this.random.normal(mu[this.start].length);
    const denoised = this.models.encoderNoise.variance.length > 0;
    const sampled = normal.map((noise, i) => mu[this.start][i] + Math.exp(logvar[this.start][i] / 2) * noise);
    const z = denoised ? Float32Array.from(mu[this.start]) : sampled;
    const noisy = this.models.noisySimulator ? sampled : z;
    const { simulators } = this.models;
    this.dream = new Dream(this.models, simulators[this.number % simulators.length], z, noisy);
    this.episode = new Episode(this.rules, warm_up_reward[this.start]);
    this.action = new Float32Array(3);
    this.before = z;
    this.outcome = { reward: 0, failure: 0, sigma: 0, entropy: 0 };
  }

  /** One step under the driver's action. */
  step() {
    this.action = this.agentDrives ? this.dream.agentAction() : this.personAction();
    this.before = this.dream.z;
    const latents = this.before.length;
    const { random } = this;
    const [gumbel, normal] = [random.gumbel(this.mixtures * latents), random.normal(latents)];
    const noise = { gumbel, normal, encoder: random.normal(latents) };
    this.outcome = this.dream.step(this.action, noise, this.temperature);
    this.episode.count(this.outcome);
  }

  /** Steering, gas and brake from the pressed keys. */
  personAction() {
    const { left, right, gas, brake } = this.pedals;
    return Float32Array.of(right - left, gas ? KEY_GAS : 0, brake ? KEY_BRAKE : 0);
  }

  /** The picture between the previous step (`part` 0) and the last (1), as RGBA bytes (64, 64, 4). */
  picture(part) {
    const mixed = this.dream.z.map((after, i) => this.before[i] + part * (after - this.before[i]));
    const colours = this.models.decoder.decode(mixed);
    const pixels = new Uint8ClampedArray((colours.length / 3) * 4).fill(255);
    for (let i = 0; i < colours.length; i++) pixels[i + Math.floor(i / 3)] = Math.round(255 * colours[i]);
    return pixels;
  }
}

/** Advances the dream at a speed: 1 is real time, 0 as fast as possible. Sends every picture to the page. */
class Clock {
  constructor(dreams) {
    this.dreams = dreams;
    this.speed = 1;
    this.paused = false;
    this.parts = 1; // pictures of the current step
    this.part = 1; // how many of them have been shown
    this.late = false;
    this.due = performance.now();
    this.timer = 0;
  }

  /** Seconds between two steps; 0 at full speed. */
  interval() {
    const { action_repeat, frames_per_second } = this.dreams.rules;
    return this.speed === 0 ? 0 : action_repeat / frames_per_second / this.speed;
  }

  /** Shows the next picture and schedules the one after it. A late clock shows only whole steps. */
  tick() {
    const { dreams } = this;
    if (this.part >= this.parts) {
      if (dreams.episode.over) return;
      this.parts = this.late ? 1 : Math.max(1, Math.round(this.interval() * PICTURES_PER_SECOND));
      this.part = 0;
      dreams.step();
    }
    this.part += 1;
    this.show();
    this.due += (1000 * this.interval()) / this.parts;
    this.late = performance.now() > this.due;
    if (this.late) this.due = performance.now();
    if (!this.paused) this.timer = setTimeout(() => this.tick(), this.due - performance.now());
  }

  show() {
    const { dreams } = this;
    const { episode } = dreams;
    const picture = dreams.picture(this.part / this.parts);
    const state = {
      kind: "picture",
      picture,
      whole: this.part >= this.parts,
      action: [...dreams.action],
      outcome: dreams.outcome,
      number: dreams.number,
      agentDrives: dreams.agentDrives,
      steps: episode.steps,
      lastStep: episode.lastStep,
      frames: episode.frames,
      score: episode.score,
      tilePoints: episode.tilePoints,
      failed: 1 - episode.survival,
      lap: episode.lap,
      over: episode.over,
    };
    postMessage(state, [picture.buffer]);
  }

  /** Continues, or stops after the current step if paused. */
  run() {
    clearTimeout(this.timer);
    this.due = performance.now();
    if (!this.paused) this.tick();
  }

  restart() {
    this.dreams.restart();
    this.part = this.parts = 1;
    this.show();
    this.run();
  }

  /** One whole step while paused. */
  stepOnce() {
    if (!this.paused || this.dreams.episode.over) return;
    this.dreams.step();
    this.part = this.parts = 1;
    this.show();
  }
}

let clock;

const commands = {
  load({ model, seed, paused }) {
    clock = new Clock(new Dreams(model, seed));
    clock.paused = paused;
    clock.show();
    clock.run();
  },
  pedals({ pedals }) {
    clock.dreams.pedals = pedals;
    if (Object.values(pedals).some(Boolean)) clock.dreams.agentDrives = false;
  },
  agent({ drives }) {
    clock.dreams.agentDrives = drives;
  },
  temperature({ temperature }) {
    clock.dreams.temperature = temperature;
  },
  speed({ speed }) {
    clock.speed = speed;
    clock.run();
  },
  pause({ paused }) {
    clock.paused = paused;
    clock.run();
  },
  restart() {
    clock.restart();
  },
  step() {
    clock.stepOnce();
  },
};

onmessage = ({ data }) => commands[data.kind](data);
