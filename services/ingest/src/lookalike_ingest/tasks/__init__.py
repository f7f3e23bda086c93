"""The durable work of jobs: the kinds of tasks, what surrounds them, and who sees to them."""
