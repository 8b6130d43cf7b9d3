"""Pure torch functions, each fast path beside its slow readable twin."""
