"""`fullduplex scaling`: how errors fall with parameters, data and compute."""
