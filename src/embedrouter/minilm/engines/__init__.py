"""What computes vectors: one protocol, one file an engine, and the choice between them."""
