//! Write the stack as the files that other engines read.
