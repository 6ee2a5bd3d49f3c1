"""Programs against their tests, in a sandbox."""
