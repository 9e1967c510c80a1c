"""A real SUMO as a world: stepped in a process of its own, its traffic published like any other."""
