"""Language models behind the brain port."""
