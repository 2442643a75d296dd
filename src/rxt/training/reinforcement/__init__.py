"""Stage 5: episodes are played, answers are rewarded, and the policy learns to be rewarded more."""
