"""The configuration of a run and of a process: what may be said, and reading it.

Everything but `neurogloss.neurons` and `db` may import it.
"""
