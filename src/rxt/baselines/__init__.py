"""Models without a reactive memory, to compare with: they answer the same questions at another cost."""
