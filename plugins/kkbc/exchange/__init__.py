"""What is agreed with the branches: slices, contracts, the registry, reference data, and what may be shown of texts."""
