"""`fullduplex ssm`."""
