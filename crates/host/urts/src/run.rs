//! The run loop: enter, serve, enter again.

use crate::block::Block;
use crate::end::{ExitStatus, StopReason};
use crate::handle::Shared;
use crate::pool::Worker;
use crate::service::dispatch;
use hostcall::{BLOCK_SIZE, DATA_SIZE, ExitReason};
use sgx::driver::{EntryLeaf, Exit, PassedRegisters};
use std::sync::Arc;

/// Runs the thread of `tcs` from its first entry until it or the enclave ends. What ends the enclave is recorded
/// in `shared`; `true` means that the thread ended by itself.
pub(crate) fn run(
    shared: &Arc<Shared>,
    worker: &Worker,
    block: &Block,
    scratch: &mut [u8; DATA_SIZE],
    tcs: u64,
) -> bool {
    let mut leaf = EntryLeaf::Enter;
    let mut registers = PassedRegisters {
        rdi: block.address(),
        rsi: BLOCK_SIZE as u64,
        ..PassedRegisters::default()
    };
    let mut last_exception = None;
    // Frames in the SSA: what interrupted the program, and what interrupted the exception entry.
    let mut frames = 0_u32;
    while !shared.has_ended() {
        if leaf == EntryLeaf::Resume {
            frames = frames.saturating_sub(1);
        }
        // SAFETY: the caller of `Enclave::load` is willing to run this enclave. No lock is held here.
        let exit = unsafe { shared.enclave.enter(tcs, leaf, registers) };
        registers = PassedRegisters::default();
        leaf = EntryLeaf::Enter;
        match exit {
            Ok(Exit::Eexit(left)) => match ExitReason::from_register(left.rdi) {
                Some(ExitReason::Call) => dispatch::serve(shared, worker, block, scratch),
                Some(ExitReason::ThreadEnded) => return true,
                Some(ExitReason::Resume) => leaf = EntryLeaf::Resume,
                Some(ExitReason::Fatal) => {
                    stop(shared, StopReason::FatalException { last: last_exception });
                }
                None => stop(shared, StopReason::UnknownExit { rdi: left.rdi }),
            },
            // EENTER itself faulted: there is no SSA frame to handle, and trying again would loop.
            Ok(Exit::Exception { leaf: 2, vector, .. }) => {
                stop(shared, StopReason::EntryFault { tcs, vector });
            }
            // The next EENTER is the exception entry (CSSA 1).
            Ok(Exit::Exception { vector, error_code, address, .. }) => {
                last_exception = Some((vector, error_code, address));
                frames += 1;
            }
            // The exception entry goes on where it was: a frame for each interruption of it would use up the
            // SSA when the host is busy. The enclave reads the reason of a kick in its own memory.
            Ok(Exit::Interrupted) if frames > 0 => {
                frames += 1;
                leaf = EntryLeaf::Resume;
            }
            Ok(Exit::Interrupted) => frames += 1,
            Err(error) => stop(shared, StopReason::Driver(error)),
        }
    }
    false
}

fn stop(shared: &Shared, reason: StopReason) {
    shared.end(ExitStatus::Stopped(reason));
}
