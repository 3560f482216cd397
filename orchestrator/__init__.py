"""Runs: creating, dispatching and following them, and all commands on them."""
