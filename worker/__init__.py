"""The worker: Celery tasks, the process that claims shards, and what each stage does with one."""
