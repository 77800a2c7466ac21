//! The call of the vDSO function, in assembly: it takes an argument on the stack, leaves its results in
//! registers, and the enclave behind it need not keep to the calling convention.

use super::uapi::Run;
use sgx::driver::PassedRegisters;
use std::arch::naked_asm;
use std::mem::offset_of;

/// One call.
#[repr(C)]
pub(super) struct Call {
    /// The vDSO function.
    pub(super) function: u64,
    /// Its `struct sgx_enclave_run`.
    pub(super) run: *mut Run,
    /// RDI, RSI, RDX, R8, R9 in and out.
    pub(super) registers: PassedRegisters,
    /// ENCLU leaf: 2 or 3.
    pub(super) leaf: u32,
    /// What the function returned.
    pub(super) result: i32,
}

const REGISTERS: usize = offset_of!(Call, registers);

/// Calls `call.function`. Keeps the callee-saved registers, MXCSR, the x87 control word and DF, whatever the
/// enclave does to them.
///
/// # Safety
/// `call` and its `run` are live, the function is `__vdso_sgx_enter_enclave`, and the enclave is one that
/// the process is willing to run.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(call: *mut Call) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 24",
        "mov [rsp + 8], rdi",
        "stmxcsr [rsp + 16]",
        "fnstcw [rsp + 20]",
        "mov rax, [rdi + {run}]",
        "mov [rsp], rax", // the seventh argument
        "mov rax, [rdi + {function}]",
        "mov ecx, [rdi + {leaf}]",
        "mov rsi, [rdi + {registers} + {rsi}]",
        "mov rdx, [rdi + {registers} + {rdx}]",
        "mov r8, [rdi + {registers} + {r8}]",
        "mov r9, [rdi + {registers} + {r9}]",
        "mov rdi, [rdi + {registers} + {rdi}]",
        "call rax",
        "cld",
        "mov rcx, [rsp + 8]",
        "mov [rcx + {result}], eax",
        "mov [rcx + {registers} + {rdi}], rdi",
        "mov [rcx + {registers} + {rsi}], rsi",
        "mov [rcx + {registers} + {rdx}], rdx",
        "mov [rcx + {registers} + {r8}], r8",
        "mov [rcx + {registers} + {r9}], r9",
        "fnclex",
        "emms",
        "ldmxcsr [rsp + 16]",
        "fldcw [rsp + 20]",
        "add rsp, 24",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        run = const offset_of!(Call, run),
        function = const offset_of!(Call, function),
        leaf = const offset_of!(Call, leaf),
        result = const offset_of!(Call, result),
        registers = const REGISTERS,
        rdi = const offset_of!(PassedRegisters, rdi),
        rsi = const offset_of!(PassedRegisters, rsi),
        rdx = const offset_of!(PassedRegisters, rdx),
        r8 = const offset_of!(PassedRegisters, r8),
        r9 = const offset_of!(PassedRegisters, r9),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the place of the vDSO function: checks where its arguments are, and behaves as badly as an enclave may.
    #[unsafe(naked)]
    unsafe extern "C" fn double() {
        naked_asm!(
            "mov rax, [rsp + 8]", // run
            "mov [rax + 8], ecx", // run.function = leaf
            "mov [rax], rdi",
            "add rdi, 1",
            "add rsi, 1",
            "add rdx, 1",
            "add r8, 1",
            "add r9, 1",
            "xor ebx, ebx",
            "xor ebp, ebp",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "mov dword ptr [rsp - 8], 0x7f80",
            "ldmxcsr [rsp - 8]",
            "fld1",
            "std",
            "mov eax, -14",
            "ret",
        )
    }

    #[test]
    fn arguments_arrive_and_the_host_is_unharmed() {
        // SAFETY: every field may be zero.
        let mut run: Run = unsafe { std::mem::zeroed() };
        let mut call = Call {
            function: double as *const () as u64,
            run: &raw mut run,
            registers: PassedRegisters { rdi: 1, rsi: 2, rdx: 3, r8: 4, r9: 5 },
            leaf: 3,
            result: 0,
        };
        let (before, mut after) = (mxcsr(), 0_u16);
        // SAFETY: `double` is in the place of the vDSO function and touches only `run`.
        unsafe { enter(&raw mut call) };
        assert_eq!(call.result, -14);
        let expected = PassedRegisters { rdi: 2, rsi: 3, rdx: 4, r8: 5, r9: 6 };
        assert_eq!(call.registers, expected);
        assert_eq!((run.tcs, run.function), (1, 3));
        assert_eq!(mxcsr(), before);
        // SAFETY: it stores the x87 status word.
        unsafe { std::arch::asm!("fnstsw [{}]", in(reg) &raw mut after) };
        assert_eq!(after & 0x3f, 0);
    }

    fn mxcsr() -> u32 {
        let mut value = 0_u32;
        // SAFETY: it stores MXCSR in a local.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value) };
        value & !0x3f
    }
}
