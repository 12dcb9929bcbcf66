"""Training in processes of its own: the parent's side, the workers' side, and what passes between them."""
