from cli.commands import commands, here

__all__ = ["commands", "here"]
