"""Servers and workers on this machine: embedded Postgres and Redis, and local workers."""
