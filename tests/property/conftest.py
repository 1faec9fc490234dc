from server import live, managed, small

__all__ = ["live", "managed", "small"]
