"""The command line: one module for each command, rendering in `terminal`."""
