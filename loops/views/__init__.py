"""What a run folder tells: `gaps`, `show`, `why`. Each reads the folder only, and returns data that can be printed."""
