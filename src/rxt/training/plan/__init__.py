"""What a run needs before it is started: memory of a rank, operations, hours."""
