"""What a run leaves for others: its lessons as a dataset, its student as a model, each with a card that tells all."""
