"""What people look at: pages, their JSON, and metrics. Reads what is stored; imports no torch."""
