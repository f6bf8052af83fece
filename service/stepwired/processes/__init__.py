"""Child processes of this service: started, watched and ended by it, and never left behind."""
