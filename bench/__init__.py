"""Measurements: speed compared with other libraries, ablations, and the documentation's tables."""
