"""/playground: embed texts and look at them."""
