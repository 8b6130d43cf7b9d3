"""The published comparisons and tables, regenerated with their unknown inputs beside them."""
