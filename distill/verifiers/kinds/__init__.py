"""Answers of other kinds: options, text, refusals, formats."""
