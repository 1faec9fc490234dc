"""What the process tells of itself: metrics, logs, progress."""
