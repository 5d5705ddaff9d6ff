// Runs the scripts and the models of a page that `wm export-web` wrote in Node, without a browser.
// Usage: node dream_in_node.mjs PAGE < ORDERS > ANSWERS, both JSON; `do` of an order names the function of `answers` to call.
import fs from "node:fs";
import vm from "node:vm";

const page = fs.readFileSync(process.argv[2], "utf8");
const part = (id) => page.split(`<script id="${id}"`)[1].split(/>(.*)/s)[1].split("</script>")[0];
globalThis.onmessage = null; // part of a worker's global scope
const { Models, Dream, Episode, Dreams } = vm.runInThisContext(`${part("worker")}; ({ Models, Dream, Episode, Dreams })`);
const packed = JSON.parse(part("model"));

const answers = {
  /** The dream from z with the given noise; the agent drives where a step has no action. */
  dream({ simulator, z, noisy, steps, temperature }) {
    const models = new Models(packed);
    const dream = new Dream(models, models.simulators[simulator], Float32Array.from(z), Float32Array.from(noisy));
    return steps.map(({ action, gumbel, normal, encoder }) => {
      const taken = action ?? dream.agentAction();
      const outcome = dream.step(Float32Array.from(taken), { gumbel: gumbel.flat(), normal, encoder }, temperature);
      return { z: [...dream.z], noisy: [...dream.noisy], picture: [...models.decoder.decode(dream.z)], action: [...taken], ...outcome };
    });
  },

  /** The result of an episode with the given steps. */
  episode({ rules, warmUpReward, steps }) {
    const episode = new Episode(rules, warmUpReward);
    for (const step of steps) if (!episode.over) episode.count(step);
    const { score, frames, lap, survival } = episode;
    return { score, frames, lap, failure: 1 - survival };
  },

  /** The scores of whole dreams of the agent. */
  drives({ count, seed }) {
    const dreams = new Dreams(packed, seed);
    return Array.from({ length: count }, () => {
      while (!dreams.episode.over) dreams.step();
      const { score, lap } = dreams.episode;
      dreams.restart();
      return { score, lap };
    });
  },

  /** Milliseconds of CPU time of a step and of a picture, means over `count`. */
  speed({ count }) {
    const dreams = new Dreams(packed, 1);
    const cost = (work) => {
      for (let i = 0; i < 30; i++) work();
      const before = process.cpuUsage();
      for (let i = 0; i < count; i++) work();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000 / count;
    };
    return { step: cost(() => dreams.step()), picture: cost(() => dreams.picture(0.5)) };
  },
};

const orders = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(orders.map((order) => answers[order.do](order))));
