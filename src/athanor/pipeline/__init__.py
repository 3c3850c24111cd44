"""The order of the work, and the machine that does it: steps, recipes, runner, launchers."""
