"""A month of made-up traffic, written by the code that writes real traffic."""
