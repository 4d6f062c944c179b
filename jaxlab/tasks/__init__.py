"""Tasks: a model given a purpose. One file each; see `jaxlab.task` for the words."""
