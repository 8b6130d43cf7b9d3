"""What a duplex language model does when it is spoken to in slices of time: played, judged, counted."""
