"""The docs: what docs/*.md says, the API reference, search over both, and the same for programs that read."""
