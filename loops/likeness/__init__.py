"""How like one another texts are: by runs of words, by the words they have in common, by what gives them away."""
