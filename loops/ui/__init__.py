"""`tutelage ui`: the report of a run as a live page on this machine alone, which follows the run while it goes."""
