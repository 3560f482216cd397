"""The science: records, prompts, simulators, scores. Pure functions of stdlib and numpy.

Everything else may import it; it imports nothing but `neurogloss.errors`.
"""
