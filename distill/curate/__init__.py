"""Curation: problems in, groups of scored completions out, in a run folder that survives a crash."""
