"""The stages of a shard: each loads rows, lets the library compute, and saves rows.

A stage is the function of the same name in the module or package of its name.
"""
