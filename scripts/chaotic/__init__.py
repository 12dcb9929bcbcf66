"""The parts of scripts/chaos.py: faults, the warm process whose children are killed, what is compared, the trials."""
