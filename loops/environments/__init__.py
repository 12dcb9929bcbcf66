"""Worlds in text that a student acts in, turn by turn."""
