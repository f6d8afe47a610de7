"""`rules`: written, tested, tried on what was recorded and on what happens, asked why, put back."""
