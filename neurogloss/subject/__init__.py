"""The subject model: a GPT-2 read with torch, for the GPU stages of the worker.

`files`, `shape` and `tokenizer` do without torch, so that the orchestrator may import them.
"""
