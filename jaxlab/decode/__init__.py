"""Making sequences from any step function `decode(params, tokens, positions, segments, cache) -> (logits, cache)`."""
