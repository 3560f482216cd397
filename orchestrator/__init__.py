"""What a run is: creating, dispatching and following it, and every command on it."""
