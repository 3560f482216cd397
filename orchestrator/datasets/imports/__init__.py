"""From a published dataset to a run like any other."""
