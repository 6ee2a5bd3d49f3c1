"""Processes that check and may be killed, and what they said before."""
