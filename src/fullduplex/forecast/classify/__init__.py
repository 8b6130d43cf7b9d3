"""Naming the class of a whole series: its cases on disk, and a picture of what was taken for what."""
