"""A classifier of texts out of a model's encoder."""
