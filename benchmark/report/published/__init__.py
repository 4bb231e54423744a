"""What others published: numbers, claims, and what our records say of them."""
