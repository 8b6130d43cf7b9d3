"""How fast the state-space layers are: beside their peers, and above the floor of the machine."""
