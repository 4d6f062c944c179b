"""Trust: what keeps a run from being lost."""
