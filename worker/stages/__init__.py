"""What a worker does with a shard: each stage loads rows, lets the library compute, saves rows.

A stage is the function of the same name in the module or package of its name.
"""
