"""Money and usage: holds, generations with their charges, credits, sums, and the proof that they agree."""
