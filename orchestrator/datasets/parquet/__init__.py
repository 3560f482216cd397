"""Parquet tables with a data card."""
