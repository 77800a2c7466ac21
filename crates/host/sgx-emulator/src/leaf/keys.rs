//! EREPORT and EGETKEY.

use super::{Done, Fault, Operands};
use crate::enclave::Shared;

pub(super) fn ereport(_shared: &Shared, _operands: Operands) -> Result<Done, Fault> {
    Err(Fault::GeneralProtection)
}

pub(super) fn egetkey(_shared: &Shared, _operands: Operands) -> Result<Done, Fault> {
    Err(Fault::GeneralProtection)
}
