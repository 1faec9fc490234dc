"""Pages of who is signed in: what he may see of keys, usage and settings, and what he may change."""
