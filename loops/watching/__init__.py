"""A run while it goes: its progress, its heartbeat, and whether anybody works at it."""
