"""The command line: a static table of commands, imported on use."""
