//! What a conversion can be written as: an image that carries its enclave, and a bundle.

mod archive;
mod bundle;
mod image;
mod process;
mod unpack;

pub use bundle::{BundleOptions, write_bundle};
pub use image::write_image;
pub use unpack::{Skipped, unpack};
