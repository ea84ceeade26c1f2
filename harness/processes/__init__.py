"""Processes: ranks, signals, stalls, and pools."""
