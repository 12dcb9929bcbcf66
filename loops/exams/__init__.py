"""Exams to be believed: problems frozen first, contamination counted, noise measured, a last set examined once."""
