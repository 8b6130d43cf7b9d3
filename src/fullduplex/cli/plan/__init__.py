"""`fullduplex plan`: how many conversations a device can hold, with and without processing in memory."""
