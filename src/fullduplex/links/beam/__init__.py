"""HoloBeam: align a holographic surface with a fixed number of pilots."""
