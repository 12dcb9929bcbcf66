"""Who owns the card: teacher and student on one GPU (or in one machine's memory), never resident together."""
