"""A GPU that JAX does not use: one line, with the remedy for this machine."""

import logging
from types import SimpleNamespace

import jax
import pytest
from commands import wm

from wm.errors import BadInput
from wm.runtime import memory, nvidia, startup

TOO_OLD, NO_CUDA = "470.82.01, expected 525 or newer: update it", "run `uv sync --extra cuda`"
MACHINES = [  # driver, whether JAX is installed with CUDA, remedy
    ("", True, "nvidia-smi finds no GPU: install NVIDIA's driver (under WSL: on Windows"),
    ("470.82.01", True, TOO_OLD),
    ("470.82.01", False, TOO_OLD),
    ("591.86", False, NO_CUDA),
    ("591.86", True, "CUDA does not start with driver 591.86: see docs/gpu.md"),
]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A function that gives this machine an nvidia-smi, and JAX its plugin for CUDA or not."""

    def change(version, plugin):
        script = "echo failed; exit 9" if not version else f"echo {version}; echo {version}"
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        plugins = [SimpleNamespace(value="jax_plugins.xla_cuda12")] if plugin else []
        monkeypatch.setattr(nvidia, "entry_points", lambda group: plugins)
        nvidia.warn_of_unused.cache_clear()

    yield change
    nvidia.warn_of_unused.cache_clear()


def set_backend(monkeypatch, result):
    """Makes JAX start so, after the lines that it logs."""

    def start():
        logging.getLogger("jax._src.xla_bridge").error("many lines\nof a traceback")
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(jax, "default_backend", start)


@pytest.mark.parametrize(("version", "plugin", "remedy"), MACHINES)
def test_cuda_that_does_not_start_is_one_line(monkeypatch, machine, capfd, version, plugin, remedy):
    machine(version, plugin)
    set_backend(monkeypatch, RuntimeError("Unable to initialize backend 'cuda': x (set JAX_PLATFORMS='' to)"))
    with pytest.raises(BadInput) as caught:
        startup._start_jax("cuda")
    line = str(caught.value)
    assert line.startswith(
        "JAX_PLATFORMS: found cuda, expected devices of this machine: Unable to initialize"
    )
    assert "x. Unset it, or set it to cpu. For the GPU: " in line
    assert remedy in line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("version", "plugin", "remedy"), MACHINES[1:])
def test_a_gpu_that_is_not_used_is_one_line(monkeypatch, machine, capfd, version, plugin, remedy):
    machine(version, plugin)
    set_backend(monkeypatch, "cpu")
    for _ in range(2):
        startup._start_jax("")
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("warning: an NVIDIA GPU is not used: ")
    assert remedy in line


@pytest.mark.parametrize(
    ("version", "backend", "platforms"),
    [("", "cpu", ""), ("591.86", "gpu", ""), ("591.86", "cpu", "cpu")],
)
def test_nothing_is_said_without_a_gpu_or_with_one_that_is_used_or_not_wanted(
    monkeypatch, machine, capfd, version, backend, platforms
):
    machine(version, plugin=False)
    set_backend(monkeypatch, backend)
    startup._start_jax(platforms)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("said", ["No devices were found", "'[N/A]'"])
def test_what_nvidia_smi_says_without_a_gpu_is_no_version(machine, said):
    machine(said, True)
    assert nvidia.driver() == ""


def test_the_devices_and_their_memory_are_shown(monkeypatch):
    card = SimpleNamespace(
        platform="gpu",
        id=0,
        device_kind="NVIDIA GeForce RTX 4070 Ti",
        memory_stats=lambda: {"bytes_limit": 9_663_676_416, "bytes_in_use": 0},
    )
    cpu = SimpleNamespace(platform="cpu", id=0, device_kind="cpu", memory_stats=lambda: None)
    monkeypatch.setattr(jax, "local_devices", lambda: [card, cpu])
    assert list(memory.lines()) == ["gpu 0: NVIDIA GeForce RTX 4070 Ti, 9.7 GB for JAX", "cpu 0: cpu"]
    said = wm("devices")
    assert said.returncode == 0
    assert said.stdout.splitlines()[:2] == list(memory.lines())
    assert said.stdout.splitlines()[2] == f"{startup.cores()} CPU cores for real drives"
