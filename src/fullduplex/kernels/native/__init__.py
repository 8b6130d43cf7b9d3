"""The compiled path: C sources, compiled once on the machine they run on."""
