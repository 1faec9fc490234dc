def version() -> str:
    """The version of embedrouter that this module was built from."""
