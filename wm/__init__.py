"""World Models on CarRacing-v3: `wm.load_agent` loads an agent, `wm.envs` has its environments."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wm.agent.folder import load_agent

__all__ = ["load_agent"]


def __getattr__(name: str) -> Any:
    """Imports `load_agent`, and with it JAX, when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'wm' has no attribute {name!r}")
    from wm.agent.folder import load_agent

    return load_agent
