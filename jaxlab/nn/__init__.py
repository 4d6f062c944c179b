"""Layers whose parameters and activations name their axes: plain Linen modules, usable alone by `init` and `apply`."""
