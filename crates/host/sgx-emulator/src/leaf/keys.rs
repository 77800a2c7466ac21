//! EREPORT and EGETKEY: operands and outputs; what they compute is the `sgx` crate's.

use super::{Done, Fault, Operands, operand, read, write};
use crate::enclave::Shared;
use crate::space::Access;
use sgx::keys::EgetkeyError;
use sgx::{Keyrequest, Report, Targetinfo};

const OPERAND_ALIGNMENT: u64 = 512;
const REPORTDATA_ALIGNMENT: u64 = 128;
const KEY_ALIGNMENT: u64 = 16;

pub(super) fn ereport(shared: &Shared, operands: Operands) -> Result<Done, Fault> {
    let output = (Report::SIZE as u64, OPERAND_ALIGNMENT);
    operand(shared, operands.rdx, output.0, output.1, Access::Write)?;
    let target: [u8; Targetinfo::SIZE] = read(shared, operands.rbx, OPERAND_ALIGNMENT)?;
    let reportdata: [u8; 64] = read(shared, operands.rcx, REPORTDATA_ALIGNMENT)?;
    let identity = shared.identity().ok_or(Fault::GeneralProtection)?;
    let target = Targetinfo::from_bytes(&target);
    let report =
        shared.secret.platform.ereport(identity, &target, &reportdata, &shared.report_keyid);
    write(shared, operands.rdx, OPERAND_ALIGNMENT, &report.to_bytes())?;
    Ok(Done { result: None })
}

pub(super) fn egetkey(shared: &Shared, operands: Operands) -> Result<Done, Fault> {
    operand(shared, operands.rcx, 16, KEY_ALIGNMENT, Access::Write)?;
    let request: [u8; Keyrequest::SIZE] = read(shared, operands.rbx, OPERAND_ALIGNMENT)?;
    let identity = shared.identity().ok_or(Fault::GeneralProtection)?;
    match shared.secret.platform.egetkey(identity, &request) {
        Ok(key) => {
            write(shared, operands.rcx, KEY_ALIGNMENT, &key)?;
            Ok(Done { result: Some(0) })
        }
        Err(EgetkeyError::Code(code)) => Ok(Done { result: Some(code as u32) }),
        Err(EgetkeyError::Reserved(_) | EgetkeyError::Field { .. }) => {
            Err(Fault::GeneralProtection)
        }
    }
}
