// The page: it shows the pictures and numbers of the worker, and sends keys, touches and settings to it.
"use strict";

const byId = (id) => document.getElementById(id);
const SERIES = 125; // steps in the chart
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "gas", ArrowDown: "brake" };

const model = JSON.parse(byId("model").textContent);
const worker = new Worker(URL.createObjectURL(new Blob([byId("worker").textContent], { type: "text/javascript" })));
const send = (kind, content = {}) => worker.postMessage({ kind, ...content });

const style = getComputedStyle(document.documentElement);
const colours = { warm: style.getPropertyValue("--warm"), cool: style.getPropertyValue("--cool") };
const held = { left: false, right: false, gas: false, brake: false };
const uncertainty = []; // of the last steps: {sigma, components}
const painted = []; // times of the last pictures in milliseconds
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
let agentDrives = true;
let dreamNumber = -1;
let latest = null; // the state to show in the next animation frame

// ---- from the worker

/** Draws a square picture of RGBA bytes. */
function paint(pixels) {
  const side = Math.sqrt(pixels.length / 4);
  byId("picture").getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
  const now = performance.now();
  painted.push(now);
  while (now - painted[0] > 2000) painted.shift();
  const seconds = (now - painted[0]) / 1000;
  byId("rate").value = seconds > 0 ? Math.round((painted.length - 1) / seconds) : 0;
}

/** Sets a meter, whose bar reaches from zero to the value. */
function setMeter(id, value, text) {
  const bar = byId(id);
  const lowest = Number(bar.getAttribute("aria-valuemin"));
  const highest = Number(bar.getAttribute("aria-valuemax"));
  const place = (number) => (100 * (Math.min(Math.max(number, lowest), highest) - lowest)) / (highest - lowest);
  const [from, to] = [place(0), place(value)].sort((a, b) => a - b);
  bar.firstElementChild.style.left = `${from}%`;
  bar.firstElementChild.style.width = `${to - from}%`;
  bar.setAttribute("aria-valuenow", value.toFixed(3));
  bar.setAttribute("aria-valuetext", text);
  bar.nextElementSibling.value = text;
}

/** A probability, rounded for display. */
function percent(probability) {
  if (probability < 0.001) return "<0.1%";
  return `${(100 * probability).toFixed(probability < 0.1 ? 1 : 0)}%`;
}

const secondsOf = (frames) => frames / model.rules.frames_per_second;
const signed = (number, digits) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;

function showMeters({ action, outcome, failed, tilePoints }) {
  const [steering, gas, brake] = action;
  setMeter("steering", steering, signed(steering, 2));
  setMeter("gas", gas, gas.toFixed(2));
  setMeter("brake", brake, brake.toFixed(2));
  setMeter("reward", outcome.reward, signed(outcome.reward, 1));
  setMeter("failed", failed, percent(failed));
  const share = tilePoints / model.rules.lap_points;
  setMeter("lap", share, `${Math.round(100 * Math.max(share, 0))}%`);
}

/** Records the uncertainty of each whole step of the current dream. */
function recordUncertainty({ number, steps, whole, outcome }) {
  if (number !== dreamNumber) {
    dreamNumber = number;
    uncertainty.length = 0;
  }
  if (!whole || steps === 0) return;
  uncertainty.push({ sigma: outcome.sigma, components: Math.exp(outcome.entropy) });
  if (uncertainty.length > SERIES) uncertainty.shift();
}

/** Draws the chart: above, the effective number of components, from one to all; below, sigma from 0.5 to 1. */
function showUncertainty() {
  if (uncertainty.length > 0) {
    const { sigma, components } = uncertainty[uncertainty.length - 1];
    byId("sigma").value = sigma.toFixed(2);
    byId("components").value = `${components.toFixed(1)} of ${model.sizes.mixtures}`;
  }
  const pen = byId("chart").getContext("2d");
  const [width, height] = [pen.canvas.width / devicePixelRatio, pen.canvas.height / devicePixelRatio];
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.lineWidth = 2;
  const lane = height / 2;
  const draw = (colour, floor, share) => {
    pen.strokeStyle = colour;
    pen.beginPath();
    uncertainty.forEach((entry, i) => {
      const x = width * (1 - (uncertainty.length - 1 - i) / (SERIES - 1));
      pen.lineTo(x, floor - 3 - (lane - 6) * Math.min(Math.max(share(entry), 0), 1));
    });
    pen.stroke();
  };
  draw(colours.cool, lane, ({ components }) => (components - 1) / Math.max(model.sizes.mixtures - 1, 1));
  draw(colours.warm, height, ({ sigma }) => 2 * sigma - 1);
}

/** Sets the chart's resolution to that of the screen. */
function fitChart() {
  const chart = byId("chart");
  const [width, height] = [chart.clientWidth, chart.clientHeight];
  Object.assign(chart, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  showUncertainty();
}

/** The text that says how the dream ended. */
function verdict({ lap, score, frames }) {
  const points = `${Math.round(score)} points`;
  const seconds = secondsOf(frames).toFixed(1);
  return lap ? `Lap complete in ${seconds} s: ${points}` : `The dream is over: ${points}`;
}

function showState(state) {
  if (state.agentDrives !== agentDrives) showAgent(state.agentDrives);
  byId("score").value = Math.round(state.score);
  byId("time").value = secondsOf(state.frames).toFixed(1);
  showMeters(state);
  showUncertainty();
  const ended = state.over && state.whole;
  if (ended && byId("ending").hidden) byId("verdict").textContent = verdict(state);
  byId("ending").hidden = !ended;
  byId("picture").dataset.steps = state.steps;
}

worker.onmessage = ({ data }) => {
  recordUncertainty(data);
  if (!latest) requestAnimationFrame(showLatest);
  latest = data;
};

/** Shows the latest state; a dream that is faster than the screen skips pictures. */
function showLatest() {
  byId("loading").hidden = true;
  paint(latest.picture);
  showState(latest);
  latest = null;
}

worker.onerror = ({ message }) => {
  byId("loading").hidden = false;
  byId("loading").textContent = `The dream stopped with an error: ${message}`;
};

// ---- to the worker

function showAgent(drives) {
  agentDrives = drives;
  byId("agent").setAttribute("aria-pressed", drives);
  byId("driver").textContent = drives ? "agent drives" : "you drive";
  byId("driver").classList.toggle("agent", drives);
}

function setAgent(drives) {
  showAgent(drives);
  send("agent", { drives });
}

function setPaused(value) {
  paused = value;
  byId("pause").setAttribute("aria-pressed", paused);
  byId("pause").firstElementChild.textContent = paused ? "Continue" : "Pause";
  byId("step").disabled = !paused;
  send("pause", { paused });
}

function hold(pedal, down) {
  if (held[pedal] === down) return;
  held[pedal] = down;
  document.querySelector(`[data-pedal="${pedal}"]`).classList.toggle("held", down);
  if (down) showAgent(false);
  send("pedals", { pedals: held });
}

function restart() {
  painted.length = 0;
  send("restart");
}

const shortcuts = {
  a: () => setAgent(!agentDrives),
  r: restart,
  " ": () => setPaused(!paused),
  ".": () => send("step"),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inSlider = event.target.matches("input");
  if (event.key in KEYS && !inSlider) hold(KEYS[event.key], true);
  else if (event.key === " " && event.target.matches("button")) return; // the browser presses that button
  else if (event.key.toLowerCase() in shortcuts && !event.repeat) shortcuts[event.key.toLowerCase()]();
  else return;
  event.preventDefault();
});
addEventListener("keyup", (event) => event.key in KEYS && hold(KEYS[event.key], false));
const releaseAll = () => Object.keys(held).forEach((pedal) => hold(pedal, false));
addEventListener("blur", releaseAll);
document.addEventListener("visibilitychange", () => document.hidden && setPaused(true));

for (const pad of document.querySelectorAll(".pad")) {
  const { pedal } = pad.dataset;
  pad.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    hold(pedal, true);
  });
  for (const kind of ["pointerup", "pointercancel"]) pad.addEventListener(kind, () => hold(pedal, false));
  pad.addEventListener("contextmenu", (event) => event.preventDefault());
}

byId("agent").onclick = () => setAgent(!agentDrives);
byId("restart").onclick = restart;
byId("again").onclick = restart;
byId("pause").onclick = () => setPaused(!paused);
byId("step").onclick = () => send("step");

function setTemperature(temperature) {
  byId("degrees").value = temperature.toFixed(1);
  send("temperature", { temperature });
}

const slider = byId("temperature");
slider.oninput = () => setTemperature(slider.valueAsNumber);
slider.onpointerup = () => slider.blur(); // so that the arrow keys steer again

for (const button of document.querySelectorAll("[data-speed]")) {
  button.onclick = () => {
    painted.length = 0;
    for (const other of document.querySelectorAll("[data-speed]")) other.setAttribute("aria-pressed", other === button);
    send("speed", { speed: Number(button.dataset.speed) });
  };
}
addEventListener("resize", fitChart);
// after a click the button loses the focus, so that the space bar does not press it again
addEventListener("click", ({ target, detail }) => detail > 0 && target.closest("button")?.blur());

// ---- start

/** The seed of all random numbers: `#seed=7` in the address repeats the same dreams. */
function seed() {
  const match = /seed=(\d+)/.exec(location.hash);
  return match ? Number(match[1]) : Math.floor(Math.random() * 2 ** 31);
}

const { action_repeat, frames_per_second, frames_per_episode, temperature } = model.rules;
byId("steps").textContent = Number((frames_per_second / action_repeat).toFixed(1));
byId("length").textContent = secondsOf(frames_per_episode);
byId("precision").textContent = model.precision;
fitChart();
send("load", { model, seed: seed(), paused });
setPaused(paused);
showAgent(true);
slider.value = temperature;
setTemperature(slider.valueAsNumber);
