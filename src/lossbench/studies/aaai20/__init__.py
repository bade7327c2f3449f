"""The study of the AAAI-20 paper: its tables, figures, claims and what they depend on."""
