"""How the installation is, for everybody."""
