"""The machinery around a training: tasks, the training itself, runs, processes, and the tools that look at them."""
