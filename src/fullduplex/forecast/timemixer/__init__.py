"""TimeMixer: season and trend mixed across down-sampled copies of a window (arXiv:2405.14616)."""
