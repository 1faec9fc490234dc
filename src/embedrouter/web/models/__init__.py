"""The list of models, and a page a model."""
