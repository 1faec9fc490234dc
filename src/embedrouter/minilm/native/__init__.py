"""The built-in model's own C++ engine: the module `_native`, absent where it could not be built."""
