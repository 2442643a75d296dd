"""Tools that a model may call: what they are, how a call is read, and some that are built in."""
