"""CrossPEFT: parameter-efficient fine-tuning methods, compared across domains."""
