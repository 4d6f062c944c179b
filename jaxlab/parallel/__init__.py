"""Where arrays lie: the mesh and the one table from axis names to mesh axes (layout.py); several processes that train
as one (cluster.py, multihost.py, watch.py, group.py); what XLA is told (flags.py); pmap.py, for those who want it."""
