// Dreams with the scripts and the weights of a page that `wm export-web` wrote, outside any browser.
// Usage: node dream_in_node.mjs PAGE < ORDERS > ANSWERS, both JSON; `do` of an order names one of `answers`.
import fs from "node:fs";
import vm from "node:vm";

const page = fs.readFileSync(process.argv[2], "utf8");
const part = (id) => page.split(`<script id="${id}"`)[1].split(/>(.*)/s)[1].split("</script>")[0];
globalThis.onmessage = null; // a worker's global scope has it
const { Models, Dream, Episode, Drives } = vm.runInThisContext(`${part("worker")}; ({ Models, Dream, Episode, Drives })`);
const packed = JSON.parse(part("model"));

const answers = {
  /** The dream from z under given noise; where there is no action the agent drives. */
  dream({ simulator, z, steps, temperature }) {
    const models = new Models(packed);
    const dream = new Dream(models, models.simulators[simulator], Float32Array.from(z));
    return steps.map(({ action, gumbel, normal }) => {
      const done = action ?? dream.agentAction();
      const brought = dream.step(Float32Array.from(done), { gumbel: gumbel.flat(), normal }, temperature);
      return { z: [...dream.z], picture: [...models.decoder.decode(dream.z)], action: [...done], ...brought };
    });
  },

  /** What an episode comes to when `steps` happen in it. */
  episode({ rules, warmUpReward, steps }) {
    const episode = new Episode(rules, warmUpReward);
    for (const step of steps) if (!episode.over) episode.count(step);
    const { score, frames, lap, survival } = episode;
    return { score, frames, lap, failure: 1 - survival };
  },

  /** The scores of whole drives by the agent. */
  drives({ count, seed }) {
    const drives = new Drives(packed, seed);
    return Array.from({ length: count }, () => {
      while (!drives.episode.over) drives.step();
      const { score, lap } = drives.episode;
      drives.restart();
      return { score, lap };
    });
  },

  /** Milliseconds of processor time a step and a picture take, means over `count`. */
  speed({ count }) {
    const drives = new Drives(packed, 1);
    const cost = (work) => {
      for (let i = 0; i < 30; i++) work();
      const before = process.cpuUsage();
      for (let i = 0; i < count; i++) work();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000 / count;
    };
    return { step: cost(() => drives.step()), picture: cost(() => drives.picture(0.5)) };
  },
};

const orders = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(orders.map((order) => answers[order.do](order))));
