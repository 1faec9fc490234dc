from server import live, small

__all__ = ["live", "small"]
