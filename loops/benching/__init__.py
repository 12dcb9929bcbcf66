"""Recipes side by side: from one student, on one exam, at equal cost, over seeds."""
