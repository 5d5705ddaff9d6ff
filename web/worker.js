// The dream's own thread: it keeps time, dreams a step, paints it, and tells the page. Follows model.js in one script.

const PICTURES_PER_SECOND = 25; // at least as many as this are painted, by going from one latent to the next in parts
const KEY_GAS = 0.5; // what a pressed key gives; with more, the car is soon too fast for bends
const KEY_BRAKE = 0.5;

/** Numbers by chance, the same for the same seed (mulberry32). */
class Chance {
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

  /** @returns {Float32Array} standard normal (Box and Muller 1958) */
  normal(count) {
    const one = () => Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
    return Float32Array.from({ length: count }, one);
  }

  /** @returns {Float32Array} standard Gumbel */
  gumbel(count) {
    return Float32Array.from({ length: count }, () => -Math.log(-Math.log(this.uniform())));
  }
}

/** One drive after another, each by a chance of its own, so that the same seed gives the same drives. */
class Drives {
  constructor(packed, seed) {
    this.models = new Models(packed);
    this.mixtures = packed.sizes.mixtures;
    Object.assign(this, { starts: packed.starts, rules: packed.rules, seed, number: -1 });
    this.temperature = this.rules.temperature;
    this.agentDrives = true;
    this.pedals = { left: false, right: false, gas: false, brake: false };
    this.restart();
  }

  /** From the next real start, drawn by chance. */
  restart() {
    this.number += 1;
    this.chance = new Chance(Math.imul(this.seed + this.number, 0x9e3779b1));
    const { mu, logvar, warm_up_reward } = this.starts;
    this.start = Math.floor(this.chance.uniform() * mu.length);
    const normal = this.chance.normal(mu[this.start].length);
    const noisy = this.models.encoderVariance.length === 0;
    const sigma = (i) => (noisy ? Math.exp(logvar[this.start][i] / 2) : 0);
    const z = normal.map((chance, i) => mu[this.start][i] + sigma(i) * chance);
    const { simulators } = this.models;
    this.dream = new Dream(this.models, simulators[this.number % simulators.length], z);
    this.episode = new Episode(this.rules, warm_up_reward[this.start]);
    this.action = new Float32Array(3);
    this.before = z;
    this.outcome = { reward: 0, failure: 0, sigma: 0, entropy: 0 };
  }

  /** One dreamt step under what the driver does. */
  step() {
    this.action = this.agentDrives ? this.dream.agentAction() : this.personAction();
    this.before = this.dream.z;
    const latents = this.before.length;
    const noise = { gumbel: this.chance.gumbel(this.mixtures * latents), normal: this.chance.normal(latents) };
    this.outcome = this.dream.step(this.action, noise, this.temperature);
    this.episode.count(this.outcome);
  }

  /** The keys as steering, gas and brake. */
  personAction() {
    const { left, right, gas, brake } = this.pedals;
    return Float32Array.of(right - left, gas ? KEY_GAS : 0, brake ? KEY_BRAKE : 0);
  }

  /** The picture `part` of the way from the step before to the last, as RGBA bytes (64, 64, 4). */
  picture(part) {
    const mixed = this.dream.z.map((after, i) => this.before[i] + part * (after - this.before[i]));
    const colours = this.models.decoder.decode(mixed);
    const pixels = new Uint8ClampedArray((colours.length / 3) * 4).fill(255);
    for (let i = 0; i < colours.length; i++) pixels[i + Math.floor(i / 3)] = Math.round(255 * colours[i]);
    return pixels;
  }
}

/** Drives at a speed: 1 is real time, 0 as fast as it goes. Tells the page of every picture. */
class Clock {
  constructor(drives) {
    this.drives = drives;
    this.speed = 1;
    this.paused = false;
    this.parts = 1; // pictures of the present step
    this.part = 1; // of which so many are shown
    this.late = false;
    this.due = performance.now();
    this.timer = 0;
  }

  /** Seconds between two steps; 0 where no time is to be lost. */
  interval() {
    const { action_repeat, frames_per_second } = this.drives.rules;
    return this.speed === 0 ? 0 : action_repeat / frames_per_second / this.speed;
  }

  /** Shows the next picture now and sets the time for the one after it. Who is late paints only whole steps. */
  tick() {
    const { drives } = this;
    if (this.part >= this.parts) {
      if (drives.episode.over) return;
      this.parts = this.late ? 1 : Math.max(1, Math.round(this.interval() * PICTURES_PER_SECOND));
      this.part = 0;
      drives.step();
    }
    this.part += 1;
    this.show();
    this.due += (1000 * this.interval()) / this.parts;
    this.late = performance.now() > this.due;
    if (this.late) this.due = performance.now();
    if (!this.paused) this.timer = setTimeout(() => this.tick(), this.due - performance.now());
  }

  show() {
    const { drives } = this;
    const { episode } = drives;
    const picture = drives.picture(this.part / this.parts);
    const state = {
      kind: "picture",
      picture,
      whole: this.part >= this.parts,
      action: [...drives.action],
      outcome: drives.outcome,
      number: drives.number,
      agentDrives: drives.agentDrives,
      steps: episode.steps,
      lastStep: episode.lastStep,
      frames: episode.frames,
      score: episode.score,
      tiles: episode.tiles,
      failed: 1 - episode.survival,
      lap: episode.lap,
      over: episode.over,
    };
    postMessage(state, [picture.buffer]);
  }

  /** Goes on from now, or stands still; what is begun is shown to its end. */
  run() {
    clearTimeout(this.timer);
    this.due = performance.now();
    if (!this.paused) this.tick();
  }

  restart() {
    this.drives.restart();
    this.part = this.parts = 1;
    this.show();
    this.run();
  }

  /** One whole step while paused. */
  stepOnce() {
    if (!this.paused || this.drives.episode.over) return;
    this.drives.step();
    this.part = this.parts = 1;
    this.show();
  }
}

let clock;

const commands = {
  load({ model, seed, paused }) {
    const drives = new Drives(model, seed);
    clock = new Clock(drives);
    clock.paused = paused;
    clock.show();
    clock.run();
  },
  pedals({ pedals }) {
    clock.drives.pedals = pedals;
    if (Object.values(pedals).some(Boolean)) clock.drives.agentDrives = false;
  },
  agent({ drives }) {
    clock.drives.agentDrives = drives;
  },
  temperature({ temperature }) {
    clock.drives.temperature = temperature;
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
