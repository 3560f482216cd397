"""The tables of neurogloss: what is asked, what is stored, what is left to do.

Arrays of activations are `bytea` of little-endian float16, in row-major order; the docstrings name
their dimensions. A neuron is (`layer`, `neuron`), both counted from 0.

Each file declares those of one subject, and is imported for them: most commands need few of the
50 tables. `db.tables.schema` has all of them.
"""
