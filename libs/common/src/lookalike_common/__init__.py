"""What every Lookalike service shares."""
