"""`fullduplex link`: quantum repeaters and beams."""
