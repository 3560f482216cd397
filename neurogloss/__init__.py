"""The library: explains neurons and scores explanations, without a database or a queue.

Every program may import it; it imports none of them.
"""
