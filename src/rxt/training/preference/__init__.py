"""Stage 5′: memory-aware preference optimisation (DMPO)."""
