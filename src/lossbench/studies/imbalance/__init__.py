"""The study of class weights on imbalanced data (Eq. 9 and 10)."""
