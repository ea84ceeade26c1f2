"""What the studies are made of besides the scripts themselves: descents, problems and figures."""
