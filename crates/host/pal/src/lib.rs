//! pal
