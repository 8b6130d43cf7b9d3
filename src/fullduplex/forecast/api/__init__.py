"""Forecasters as other people's programs expect them: fit, predict, save, load; and inside Nixtla's and sktime's."""
