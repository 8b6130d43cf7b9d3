"""Forecasts of many correlated series: files, windows, honest backtests, baselines and models."""
