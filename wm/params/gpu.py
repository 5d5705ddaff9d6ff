"""The section `gpu`."""

from wm.params.section import Section


class GPU(Section):
    """How XLA computes on a GPU. No effect on a CPU."""

    deterministic: bool
    """true: repeated runs on the same GPU give the same bytes; slower"""
