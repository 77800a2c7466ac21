//! Cases by subject.

mod cgroups;
mod hooks;
mod labels;
mod life;
mod mounts;
mod namespaces;
mod process;
mod refusals;
mod seccomp;

use crate::Case;

pub(crate) const ALL: &[&[Case]] = &[
    cgroups::CASES,
    hooks::CASES,
    labels::CASES,
    life::CASES,
    mounts::CASES,
    namespaces::CASES,
    process::CASES,
    refusals::CASES,
    seccomp::CASES,
];

/// A table of functions as cases.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[crate::Case] = &[$(crate::Case {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: $name,
        }),*];
    };
}
pub(crate) use cases;
