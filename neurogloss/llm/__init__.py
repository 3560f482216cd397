"""Clients of OpenAI-compatible APIs: single calls, the call engine, the Batch API, probes.

Imports the configuration and the science; knows no database and no Celery.
"""
