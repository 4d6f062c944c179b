"""Where arrays lie: the mesh and the one table from axis names to mesh axes (layout.py)."""
