"""Who may compute when: budget, adaptive pool, GPU slots, memory pressure, progress, thread caps, child processes."""
