"""What a run would ask of its teacher, and what it has asked."""
