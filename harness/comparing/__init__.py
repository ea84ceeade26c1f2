"""Many runs at once: reading their files, comparing, repeating, searching."""
