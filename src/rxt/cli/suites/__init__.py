"""What ``rxt eval`` measures: each suite a file with its options, its table and its JSON."""
