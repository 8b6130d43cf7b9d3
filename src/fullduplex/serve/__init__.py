"""The real-time server: the only place that imports asyncio."""
