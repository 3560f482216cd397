"""Calls by way of the Batch API: put into batches by shards that wait, submitted and collected."""
