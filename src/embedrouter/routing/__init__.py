"""Preferences to endpoints: who may serve a request, and in which order. Pure functions."""
