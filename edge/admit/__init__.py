"""What is let through: order, duplicates, times, plausibility; every refusal has its reason."""
