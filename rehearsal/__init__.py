"""The stand-in for an LLM API: a server with made-up answers, to rehearse a run without paying.

It imports nothing of the other packages. The command line and the tests start it.
"""
