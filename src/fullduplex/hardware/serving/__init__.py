"""Requests that come and go, and sessions that stay."""
