"""From logits to text: sampling, cached generation, incremental decoding, conversations."""
