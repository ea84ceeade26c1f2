"""What the studies are made of, beside the scripts themselves: descents, problems and figures."""
