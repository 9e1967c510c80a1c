"""`vrc bench`: traffic, a sender in a process of its own, what each process costs, a report."""
