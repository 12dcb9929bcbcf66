"""What the student answers through: in this process, or a server of its own."""
