"""The commands of `tutelage`, a module for each kind. Heavy parts load when a command needs them."""
