"""Students to reports: benchmarks, metrics with intervals, and what differs beyond chance."""
