"""ASIC cost model: workload to cycles, energy, area."""
