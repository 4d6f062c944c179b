"""Data: raw files in, batches out, every batch a pure function of its number."""
