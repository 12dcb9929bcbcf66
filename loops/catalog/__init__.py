"""The closed list of skills: written by the teacher or read from a file; its labels, re-made where it was edited."""
