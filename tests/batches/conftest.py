from fault.conftest import bank

__all__ = ["bank"]
