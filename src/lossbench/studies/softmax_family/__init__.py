"""What the Softmax family of losses gives: Fenchel-Young losses and their relatives."""
