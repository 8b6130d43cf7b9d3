"""Things to learn: tasks as pure functions of a seed, and how a model is fitted to one."""
