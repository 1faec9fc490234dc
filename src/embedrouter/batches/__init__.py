"""Batch jobs: many requests given at once, worked off beside the others by the same road."""
