//! Read the files people have into a stack, reporting every key.
