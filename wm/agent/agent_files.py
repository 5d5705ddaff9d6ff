"""The model files of an agent, checked without JAX."""

from dataclasses import dataclass
from pathlib import Path

from wm.runtime import model_header


@dataclass(frozen=True)
class AgentFiles:
    """The model files of an agent; `snapshots` only for exploration."""

    vae: Path
    rnn: Path
    controller: Path
    snapshots: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [path for path in (self.vae, self.rnn, self.controller, self.snapshots) if path]

    @property
    def absolute(self) -> "AgentFiles":
        """The same files, for a process with another working directory."""
        snapshots = self.snapshots and self.snapshots.absolute()
        return AgentFiles(self.vae.absolute(), self.rnn.absolute(), self.controller.absolute(), snapshots)

    def check(self) -> None:
        """Raises BadModelFile for a file that `model_header.check_file` refuses, and for models of different
        sizes."""
        vae = model_header.check_file(self.vae, "VAE")
        rnn = model_header.check_file(self.rnn, "RNN")
        latent_size = rnn.size("latent_size", self.rnn)
        features = latent_size + rnn.size("hidden_size", self.rnn)
        model_header.check(self.rnn, "latent_size", latent_size, vae.size("latent_size", self.vae))
        for path, kind in ((self.controller, "Controller"), (self.snapshots, "Snapshots")):
            if path:
                found = model_header.check_file(path, kind).size("features", path)
                model_header.check(path, "features", found, features)
