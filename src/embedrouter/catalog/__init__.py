"""What can be asked for: models, their providers and endpoints, and their prices."""
