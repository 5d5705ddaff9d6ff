"""The section `gpu`."""

from wm.params.section import Section


class GPU(Section):
    """How XLA computes on a GPU. No effect on a CPU."""

    deterministic: bool
    """true: the same GPU gives the same bytes again, with slower operations"""
