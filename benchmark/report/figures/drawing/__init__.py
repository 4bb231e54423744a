"""What figures share: what they are made from, how they look, where names go, and what keeps them."""
