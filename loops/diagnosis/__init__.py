"""What each failed attempt lacked, how it went wrong, and how far the teacher's word can be trusted."""
