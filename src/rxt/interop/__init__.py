"""Checkpoints of others: the layout that the published RxT models are stored in, read and written by one key map."""
