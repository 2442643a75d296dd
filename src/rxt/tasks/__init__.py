"""Tasks: worlds whose conversations have questions with known answers."""
