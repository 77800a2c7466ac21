//! urts
