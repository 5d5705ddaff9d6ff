"""The web page computes the same dreams as JAX, and a person can drive in them."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from chromium import Chromium

from wm.agent.agent import Agent
from wm.agent.folder import AgentFolder
from wm.dream import dynamics
from wm.dream.dynamics import Outcome, Rules, Simulation, State
from wm.dream.scoring import as_episodes
from wm.errors import BadInput
from wm.export import web
from wm.models import mdn
from wm.models.controller import Controller
from wm.models.rnn import RNN, Ensemble
from wm.models.vae import VAE
from wm.runtime import model_file

ROOT = Path(__file__).parents[1]
PRETRAINED = ROOT / "models/pretrained"
RULES = Rules(temperature=1.0, stuck_steps=0, action_repeat=2)
STEPS, PRESSED = 20, 10


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the published agent."""
    path = tmp_path_factory.mktemp("page") / "dream.html"
    web.export(PRETRAINED, path, "float16", RULES)
    return path


@pytest.fixture(params=[False, True], ids=["mixtures", "joint mixture"])
def tiny(tmp_path, request):
    """The folder of a small random agent with two simulators, tanh pedals and narrow action limits."""
    sizes = {"latent_size": 4, "hidden_size": 6, "mixtures": 3, "joint": request.param}
    controller = Controller(features=10, limits=((-0.5, 0.4), (0.0, 0.6), (0.1, 1.0)), pedals="tanh")
    controller = controller.with_parameters(jr.normal(jr.key(4), controller.parameters.shape))
    model_file.save(tmp_path / "vae.eqx", VAE(latent_size=4, widths=(4, 5, 6, 7), key=jr.key(0)))
    model_file.save(tmp_path / "rnn.eqx", RNN(**sizes, key=jr.key(1)))
    model_file.save(tmp_path / "simulators.eqx", Ensemble(count=2, **sizes, key=jr.key(2)))
    model_file.save(tmp_path / "controller.eqx", controller)
    (tmp_path / "environment.json").write_text('{"action_repeat": 2, "warm_up_frames": 50}')
    write_starts(tmp_path)
    return tmp_path


def write_starts(folder, **changes):
    arrays = {"mu": np.ones((3, 4)), "logvar": np.zeros((3, 4)), "warm_up_reward": np.full(3, 5.0)}
    arrays = {name: array.astype(np.float32) for name, array in (arrays | changes).items()}
    np.savez(folder / "starts.npz", **arrays)


def in_node(page, *orders):
    """The answers of the page's scripts, run by Node."""
    node = shutil.which("node")
    assert node, "node is not on PATH. Install Node.js, 18 or newer."
    command = [node, str(ROOT / "tests/dream_in_node.mjs"), str(page)]
    ended = subprocess.run(command, input=json.dumps(orders), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def order(models, seed, simulator=0, driven=False, temperature=1.0):
    """A dream to compute on both sides; `driven` by random actions, else by the agent."""
    keys = jr.split(jr.key(seed), STEPS + 2)
    latents, mixtures = models.vae.latent_size, models.rnn.mixtures
    noises = [mdn.draw_noise(key, (latents,), mixtures) for key in keys[2:]]
    actions = np.asarray(jr.uniform(keys[0], (STEPS, 3)) * jnp.array([2, 1, 0.2]) - jnp.array([1, 0, 0]))
    steps = [
        {"action": action.tolist() if driven else None}
        | {name: np.asarray(part).tolist() for name, part in noise._asdict().items()}
        for action, noise in zip(actions, noises, strict=True)
    ]
    z, noisy = np.asarray(jr.normal(keys[1], (2, latents)) / 2).tolist()
    first = {"z": z, "noisy": noisy}
    return {"do": "dream", "simulator": simulator, **first, "steps": steps, "temperature": temperature}


def in_jax(models: Agent, simulators, order, answer, rules=RULES):
    """The same dream by wm.dream: the values that dream_in_node.mjs returns, as arrays.

    Where the agent drives, its action is computed and compared, but the action of `answer` is taken: steering
    is so steep a function that it would amplify differences in the last digit.
    """
    simulator, rules = simulators[order["simulator"]], rules.replace(temperature=order["temperature"])
    simulation = Simulation(simulator, models.rnn, rules)
    first = jnp.array(order["z"]), jnp.array(order["noisy"])
    state = State(*first, simulator.start(), models.rnn.start())
    rows = []
    for step, answered in zip(order["steps"], answer, strict=True):
        taken = jnp.array(answered["action"])
        action = taken if step["action"] else models.controller(state.z, state.watched.hidden)
        noise = mdn.Noise(*(jnp.array(step[part]) for part in mdn.Noise._fields))
        state, outcome = dynamics.step(simulation, state, taken, noise)
        mixture = simulator.predict(state.memory.hidden).mixture
        predicted = outcome.reward, outcome.failure
        pictured = models.vae.decode(state.z).ravel()
        rows.append((state.z, state.noisy, pictured, action, *predicted, *spread(mixture)))
    names = ("z", "noisy", "picture", "action", "reward", "failure", "sigma", "entropy")
    return {name: np.stack(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def spread(mixture):
    """The weighted mean of sigma and the entropy of the weights, as means over the latents."""
    weight = np.exp(mixture.logits) / np.exp(mixture.logits).sum(axis=0)
    sigma = (weight * np.exp(mixture.log_sigma)).sum(axis=0).mean()
    return sigma, -(weight * np.log(weight)).sum(axis=0).mean()


def errors(answer, expected):
    """The largest difference of each value of a dream."""
    return {
        name: float(np.abs(np.array([step[name] for step in answer]) - values).max())
        for name, values in expected.items()
    }


def loaded(folder):
    agent = AgentFolder(folder).agent()
    return agent, AgentFolder(folder).simulators(agent)


@pytest.mark.parametrize("driven", [False, True])
def test_the_page_computes_the_dreams_of_jax(page, driven, capsys):
    """With the same noise and rounded weights, for the agent's and for other actions."""
    whole = loaded(PRETRAINED)
    models, simulators = (web.rounded_weights(one, "float16") for one in whole)
    asked = order(whole[0], seed=3, driven=driven)
    (answer,) = in_node(page, asked)
    result = errors(answer, in_jax(models, simulators, asked, answer))
    with capsys.disabled():
        print(f"\npage against JAX, {STEPS} steps: z {result['z']:.1e}, picture {result['picture']:.1e}")
    assert result.pop("picture") < 2 / 255
    assert max(result.values()) < 1e-3, result


def test_float16_weights_change_dreams_little(page, capsys):
    """The difference to the agent's own dreams after `STEPS` steps with the same noise: a median, since a
    dream differs more where two components of the mixture are almost equally likely."""
    whole = loaded(PRETRAINED)
    asked = [order(whole[0], seed=seed, driven=True) for seed in range(1, 9)]
    answers = in_node(page, *asked)
    result = [errors(answer, in_jax(*whole, one, answer)) for one, answer in zip(asked, answers, strict=True)]
    z, picture_error = (float(np.median([one[name] for one in result])) for name in ("z", "picture"))
    with capsys.disabled():
        print(
            f"\nfloat16 against float32, {STEPS} steps, median of 8: z {z:.4f}, picture {picture_error:.4f}"
        )
    assert z < 0.01
    assert picture_error < 0.01


@pytest.mark.parametrize(("precision", "simulator", "temperature"), [("float16", 0, 0.3), ("int8", 1, 2.0)])
def test_other_agents_dream_on_the_page(tiny, precision, simulator, temperature):
    """Several simulators, tanh pedals, action limits, other sizes and temperatures, int8 weights."""
    web.export(tiny, tiny / "dream.html", precision, RULES)
    whole = loaded(tiny)
    models, simulators = (web.rounded_weights(one, precision) for one in whole)
    asked = order(whole[0], seed=5, simulator=simulator, temperature=temperature)
    (answer,) = in_node(tiny / "dream.html", asked)
    result = errors(answer, in_jax(models, simulators, asked, answer))
    assert max(result.values()) < 1e-4, result


@pytest.mark.parametrize("noisy", [False, True])
def test_denoised_dreams_are_the_same_on_the_page(tiny, noisy):
    """With a different share of the encoder's noise in each dimension."""
    rules = RULES.replace(sampling="denoised", encoder_variance=(0.1, 0.3, 0.9, 20.0), noisy_simulator=noisy)
    web.export(tiny, tiny / "dream.html", "float16", rules)
    whole = loaded(tiny)
    models, simulators = (web.rounded_weights(one, "float16") for one in whole)
    asked = order(whole[0], seed=5)
    (answer,) = in_node(tiny / "dream.html", asked)
    result = errors(answer, in_jax(models, simulators, asked, answer, rules))
    assert max(result.values()) < 1e-4, result
    other = errors(
        answer, in_jax(models, simulators, asked, answer, rules.replace(noisy_simulator=not noisy))
    )
    assert other["z"] > 0.1


@pytest.mark.parametrize("precision", web.WEIGHTS)
def test_rounding_changes_a_weight_by_at_most_half_a_unit(precision):
    weight = jr.normal(jr.key(0), (40, 6)) * jnp.array([1, 10, 0.1, 1, 1, 0])
    rounded = web.rounded_weights({"weight": weight, "bias": weight[0]}, precision)
    assert (rounded["bias"] == weight[0]).all()
    error = np.abs(rounded["weight"] - weight)
    unit = np.abs(weight).max(axis=0) / 127 if precision == "int8" else np.abs(weight) * 2.0**-10
    assert (error <= unit / 2 + 1e-7).all()
    assert error[:, :5].max(axis=0).all()


@pytest.mark.parametrize("missed", [0.0, 0.02])
@pytest.mark.parametrize("stuck_steps", [0, 3])
@pytest.mark.parametrize("speed", [1.0, 3.5, 9.0])
def test_the_page_scores_episodes_as_jax_does(page, stuck_steps, speed, missed):
    """Slow ones up to the last frame, fast ones up to the last tile, some with missed tiles, stuck ones; all
    with failures."""
    rules = RULES.replace(stuck_steps=stuck_steps)
    rng = np.random.default_rng(int(speed))
    reward = rng.normal(speed, 2.5, 238).round(3)
    failure = (rng.uniform(size=238) ** 60).round(4)
    none = jnp.zeros((238, 1))
    outcome = Outcome(jnp.array(reward)[:, None], none + missed, jnp.array(failure)[:, None])
    expected = as_episodes(outcome, jnp.array([12.0]), rules, warm_up_frames=50)
    steps = [{"reward": r, "missed": missed, "failure": f} for r, f in zip(reward, failure, strict=True)]
    played = {"do": "episode", "rules": web.episode_rules(rules, 50), "warmUpReward": 12.0, "steps": steps}
    (result,) = in_node(page, played)
    assert result["score"] == pytest.approx(float(expected.score[0]), abs=0.02)
    assert result["frames"] == int(expected.frames[0])
    assert result["lap"] == bool(expected.lap[0])
    assert result["failure"] == pytest.approx(float(expected.failure[0]), abs=1e-4)


def test_the_agent_scores_well_on_the_page(page):
    """With the page's own random numbers most dreams score like the agent's own; a few lose the road."""
    scores = [drive["score"] for drive in in_node(page, {"do": "drives", "count": 5, "seed": 1})[0]]
    assert np.median(scores) > 850


def test_a_page_is_one_small_reproducible_file(page, tmp_path):
    size = web.export(PRETRAINED, tmp_path / "dream.html", "float16", RULES)
    assert (tmp_path / "dream.html").read_bytes() == page.read_bytes()
    assert size == page.stat().st_size <= web.MAX_BYTES
    assert web.export(PRETRAINED, tmp_path / "dream.html", "int8", RULES) < 0.6 * size
    text = page.read_text()
    assert not [word for word in ("http:", "https:", " src=", "@import", "url(") if word in text]


def test_bad_input_is_named_and_writes_no_page(tiny, monkeypatch):
    def refused(message, out=tiny / "dream.html", rules=RULES):
        with pytest.raises(BadInput, match=message):
            web.export(tiny, out, "float16", rules)
        assert not out.is_file()

    refused(
        "dream.json: rules.sampling: found 'mode', expected 'sampled' or 'denoised'",
        rules=RULES.replace(sampling="mode"),
    )
    refused("taken: found a folder, expected a file", out=folder(tiny / "taken"))
    refused("rnn.eqx: found a file, expected a folder", out=tiny / "rnn.eqx" / "dream.html")
    monkeypatch.setattr(web, "MAX_BYTES", 1000)
    refused("dream.html: the page would have .* MB with float16 weights, expected at most")
    monkeypatch.setattr(web, "SOURCES", tiny)
    refused("model.js: not found. Run `git ")
    write_starts(tiny, mu=np.ones((3, 5)))
    refused(r"starts.npz: mu: found float32 \(3, 5\), expected float32 \(3, 4\)")
    write_starts(tiny, logvar=np.full((3, 4), np.nan))
    refused("logvar: found values that are not finite")
    (tiny / "starts.npz").write_bytes(b"no archive")
    refused("starts.npz: .*expected start frames of drives")
    (tiny / "starts.npz").unlink()
    refused(r"starts\.npz: not found")


def folder(path):
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile"), width=1280, height=800) as chromium:
        yield chromium


def driven_with(browser, page, keys):
    """Picture and meters after `PRESSED` dreamt steps from the same start with the same random numbers."""
    browser.open(f"{page.as_uri()}#seed=4")
    browser.wait("document.getElementById('picture')?.dataset.steps >= 0")
    browser.press(" ")
    browser.press("r")
    browser.wait("document.getElementById('picture').dataset.steps === '0'")
    browser.press("ArrowUp")  # takes over from the agent
    for key in keys:
        browser.key(key, "keyDown")
    for _ in range(PRESSED):
        browser.press(".")
    browser.wait(f"document.getElementById('picture').dataset.steps === '{PRESSED}'")
    meters = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[role=meter]')].map("
        "(bar) => [bar.id, Number(bar.getAttribute('aria-valuenow'))]))"
    )
    return picture(browser), meters


def picture(browser):
    """The 64 x 64 pixels of the dream."""
    pixels = browser.evaluate(
        "[...document.getElementById('picture').getContext('2d').getImageData(0, 0, 64, 64).data]"
    )
    return np.array(pixels).reshape(64, 64, 4)[..., :3]


def test_a_person_drives_the_dream_with_the_keys(browser, page):
    still, resting = driven_with(browser, page, [])
    again, _ = driven_with(browser, page, [])
    left, turning_left = driven_with(browser, page, ["ArrowLeft", "ArrowUp"])
    right, turning_right = driven_with(browser, page, ["ArrowRight", "ArrowUp"])
    assert (again == still).all()  # the same random numbers, so only the keys can make a difference
    assert [one["steering"] for one in (resting, turning_left, turning_right)] == [0, -1, 1]
    assert [one["gas"] for one in (resting, turning_left, turning_right)] == [0, 0.5, 0.5]
    for one, other in ((still, left), (still, right), (left, right)):
        assert np.abs(one - other).mean() > 5
    assert not browser.errors


def test_the_page_keeps_real_time_and_shows_a_road_and_a_car(browser, page, tmp_path, capsys):
    browser.open(f"{page.as_uri()}#seed=1")
    browser.wait("document.getElementById('picture')?.dataset.steps > 30")
    in_time = rate(browser)
    (tmp_path / "page.png").write_bytes(shot := browser.screenshot())
    browser.evaluate("document.querySelector('[data-speed=\"0\"]').click()")
    fastest = 0
    while browser.evaluate("document.getElementById('ending').hidden"):
        time.sleep(0.2)
        fastest = max(fastest, rate(browser))
    with capsys.disabled():
        print(f"\npictures per second: {in_time} in real time, {fastest} at most; {tmp_path / 'page.png'}")
    assert fastest >= 20
    assert not browser.errors

    decoded = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    seen = decoded[60:780, 20:780, ::-1].astype(int)  # the dream, below its score
    red, green, blue = np.moveaxis(seen, -1, 0)
    grass = (green > red + 50) & (green > blue + 50)
    road = (np.ptp(seen, axis=-1) < 30) & (green > 70) & (green < 150)
    car = (red > green + 80) & (red > blue + 80)
    assert 0.3 < grass.mean() < 0.95
    assert 0.05 < road.mean() < 0.6
    assert 0.001 < car.mean() < 0.03
    rows, columns = np.nonzero(car)
    assert 0.7 < rows.mean() / 720 < 0.95  # the place of the car in CarRacing
    assert 0.45 < columns.mean() / 760 < 0.55


def rate(browser):
    return int(browser.evaluate("document.getElementById('rate').value"))


def test_a_dream_ends_and_another_begins(browser, page):
    browser.open(f"{page.as_uri()}#seed=3")
    browser.wait("document.getElementById('picture')?.dataset.steps > 0")
    browser.evaluate("document.querySelector('[data-speed=\"0\"]').click()")
    browser.wait("!document.getElementById('ending').hidden")
    assert "points" in browser.evaluate("document.getElementById('verdict').textContent")
    assert int(browser.evaluate("document.getElementById('score').value")) > 600
    browser.press("r")
    browser.wait("document.getElementById('ending').hidden")
    assert int(browser.evaluate("document.getElementById('score').value")) < 600


def test_a_phone_shows_the_dream_and_the_pedals_and_touch_steers(page, tmp_path):
    with Chromium(tmp_path / "profile", width=390, height=844, touch=True) as phone:
        phone.open(f"{page.as_uri()}#seed=1")
        phone.wait("document.getElementById('picture')?.dataset.steps > 0")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        pad = "document.querySelector('[data-pedal=left]').getBoundingClientRect()"
        x, y = (phone.evaluate(f"{pad}.{side}") + 20 for side in ("x", "y"))
        assert y < 844 - 40
        phone("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        phone.wait("document.getElementById('driver').textContent === 'you drive'")
        phone.wait("document.getElementById('steering').getAttribute('aria-valuenow') === '-1.000'")
        phone("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        phone.wait("Number(document.getElementById('steering').getAttribute('aria-valuenow')) === 0")
        assert not phone.errors
