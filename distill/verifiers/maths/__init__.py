"""Mathematical answers and numbers, from identical strings to the engine."""
