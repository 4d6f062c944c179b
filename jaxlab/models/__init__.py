"""Architectures only: inputs to outputs, no loss or optimizer. `spec('models.gpt')` means `make` in `models/gpt.py`."""
