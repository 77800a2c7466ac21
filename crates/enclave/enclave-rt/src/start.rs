//! The first entry of a thread, and what the enclave checks about itself before it trusts anything.

use core::ops::Range;
use core::ptr::NonNull;

use hostcall::enclave::Caller;
use libos::platform::Platform;
use sgx::report::EMULATED_CPUSVN;
use sgx::{AttributeFlags, Miscselect, ReportBody, Xfrm};
use workload::manifest::{self, Manifest};

use crate::clock::{Clock, Reading, tsc};
use crate::heap::{Grow, Heap};
use crate::layout::{Layout, PAGE, slot};
use crate::pages::Rights;
use crate::random::Generator;
use crate::runtime::{self, Found};
use crate::thread::{Thread, phase};
use crate::{entry, host, leaf, threads, untrusted, xstate};

/// Most threads, whatever the manifest says: the slots' share of the library OS's region.
const MAX_SLOTS: u64 = 1024;

#[cfg(not(test))]
mod image {
    use super::Platform;

    unsafe extern "C" {
        static __image_base: u8;
    }

    unsafe extern "Rust" {
        /// What the image runs on the first thread, once the platform is up.
        pub(super) safe fn enclave_main(
            platform: &'static dyn Platform,
            manifest: &'static [u8],
        ) -> !;
    }

    /// Address of the image's offset 0.
    pub(super) fn base() -> u64 {
        (&raw const __image_base) as u64
    }
}

/// Unit tests are no image: there is nothing to start.
#[cfg(test)]
mod image {
    use super::Platform;

    pub(super) fn enclave_main(_: &'static dyn Platform, _: &'static [u8]) -> ! {
        unreachable!("tests do not enter an enclave")
    }

    pub(super) fn base() -> u64 {
        0
    }
}

/// The library OS's heap.
pub(crate) static HEAP: Heap<Region> = Heap::new();

/// Called by the entry code on the thread's own stack. `block` and `length` are the host's word; `tcs` is
/// the CPU's.
pub(crate) extern "C" fn start(block: u64, length: u64, tcs: u64, phase: u32) -> ! {
    let is_first = phase == phase::FRESH;
    let Some(layout) = Layout::of_image(image::base()) else { stop() };
    if is_first {
        if tcs != layout.initial_tcs() {
            stop();
        }
        let page = (tcs + slot::THREAD) as *mut Thread;
        // SAFETY: the initial slot's page was measured as zeros, and the phase, which the entry code moved
        // on from Fresh, says that it was never used.
        unsafe { threads::initialise(page, tcs, 0) };
    }
    let thread = Thread::current();
    let Ok(block) = untrusted::block(block, length, &layout.elrange()) else { stop() };
    let Ok(caller) = Caller::new(block) else { stop() };
    // SAFETY: only this thread reaches its caller, and nobody borrows it now.
    unsafe { *thread.caller.get() = Some(caller) };
    if is_first {
        first(layout);
    }
    threads::run(thread);
    // SAFETY: on an enclave thread that is done.
    unsafe { entry::end_thread() }
}

fn stop() -> ! {
    // SAFETY: on an enclave thread; nothing continues here.
    unsafe { entry::stop() }
}

/// Brings the run time up, in the order in which parts need each other, and runs the library OS.
fn first(layout: Layout) -> ! {
    let report = leaf::own_report().body;
    if let Err(wrong) = check_report(&report) {
        host::refuse(format_args!("{wrong}"));
    }
    xstate::set_xfrm(report.attributes.xfrm.bits());

    let Range { start, end } = layout.dynamic();
    let slots = (MAX_SLOTS * slot::SIZE).min((end - start) / 4) & !(PAGE - 1);
    host::protect(start, end - start, Rights::DEFAULT.bits());
    HEAP.start(Region { next: start, end: end - slots });

    let bytes = measured_manifest(layout);
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => host::refuse(format_args!("manifest: {error}")),
    };
    check_manifest(&manifest, layout, &report);
    let heap_end = start.saturating_add(manifest.enclave.heap_max).min(end - slots);
    HEAP.limit(heap_end & !(PAGE - 1));

    let user = layout.user();
    host::protect(user.start, user.end - user.start, Rights::DEFAULT.bits());
    let runtime = runtime::set(Found {
        layout,
        clock: clock(),
        random: match Generator::new() {
            Ok(generator) => generator,
            Err(reason) => {
                host::refuse(format_args!("entropy: expected a healthy source, got {reason:?}"))
            }
        },
        is_emulated: report.cpusvn == EMULATED_CPUSVN,
        slots: end - slots..end,
        threads: manifest.enclave.threads,
        entry: entry::_enclave_entry as *const () as u64,
    });
    drop(manifest);
    image::enclave_main(runtime, bytes)
}

/// A field of the enclave's own report that this run time cannot work with.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    field: &'static str,
    expected: u64,
    got: u64,
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { field, expected, got } = self;
        write!(f, "{field} of this enclave: expected {expected:#x}, got {got:#x}")
    }
}

/// Whether the enclave was built and started with what the run time relies on.
fn check_report(report: &ReportBody) -> Result<(), Wrong> {
    let flags = report.attributes.flags;
    let needed = AttributeFlags::INIT | AttributeFlags::MODE64BIT;
    if !flags.contains(needed) {
        let (expected, got) = (needed.bits(), flags.bits());
        return Err(Wrong { field: "ATTRIBUTES.FLAGS", expected, got });
    }
    // AMX state does not fit the SSA frame, and MPX is gone; anything unknown would be kept nowhere.
    let known = Xfrm::LEGACY | Xfrm::AVX | Xfrm::AVX512 | Xfrm::PKRU;
    let xfrm = report.attributes.xfrm;
    if !xfrm.contains(Xfrm::LEGACY) || !known.contains(xfrm) {
        let (expected, got) = (known.bits(), xfrm.bits());
        return Err(Wrong { field: "ATTRIBUTES.XFRM", expected, got });
    }
    // Without it no page fault is ever told to the enclave.
    if !report.miscselect.contains(Miscselect::EXINFO) {
        let (expected, got) = (Miscselect::EXINFO.bits(), report.miscselect.bits());
        return Err(Wrong { field: "MISCSELECT", expected: expected.into(), got: got.into() });
    }
    Ok(())
}

/// Whether the enclave is the one that its own manifest describes.
fn check_manifest(manifest: &Manifest, layout: Layout, report: &ReportBody) {
    let size = layout.elrange().end;
    if manifest.enclave.size != size {
        let got = manifest.enclave.size;
        host::refuse(format_args!("manifest enclave.size: expected {size:#x}, got {got:#x}"));
    }
    let is_debug = report.attributes.flags.contains(AttributeFlags::DEBUG);
    if manifest.debug != is_debug {
        let expected = manifest.debug;
        host::refuse(format_args!("ATTRIBUTES.DEBUG: expected {expected}, got {is_debug}"));
    }
    // Whoever starts the enclave chooses CONFIGID, and it goes into keys and evidence.
    let expected = manifest.identity.config_id.as_ref();
    if report.configid != [0; 64] && expected.is_none_or(|id| report.configid != id.0) {
        let got = manifest::Hex(report.configid);
        match expected {
            Some(id) => host::refuse(format_args!("CONFIGID: expected 0 or {id}, got {got}")),
            None => host::refuse(format_args!("CONFIGID: expected 0, got {got}")),
        }
    }
}

/// The measured manifest.
fn measured_manifest(layout: Layout) -> &'static [u8] {
    let Range { start, end } = layout.manifest();
    // SAFETY: the converter measures a page here that starts with the length; measured pages never change.
    let length = unsafe { (start as *const u64).read() };
    if length > end - start - 8 {
        let at_most = end - start - 8;
        host::refuse(format_args!("manifest length: expected at most {at_most}, got {length}"));
    }
    // SAFETY: the converter measures as many pages as the length needs, read-only.
    unsafe { core::slice::from_raw_parts((start + 8) as *const u8, length as usize) }
}

/// The clocks, from readings of the host's.
fn clock() -> Clock {
    let own = || {
        let reading = host::clock();
        // Elapsed time is counted from our own TSC reading, so that a host's lie about it has no effect.
        Reading { tsc: tsc(), ..reading }
    };
    let mut reading = own();
    if reading.tsc_khz == 0 {
        let first = reading;
        reading = loop {
            let later = own();
            if let Some(tsc_khz) = Clock::frequency_khz(first, later) {
                break Reading { tsc_khz, ..later };
            }
        };
    }
    match Clock::new(reading) {
        Ok(clock) => clock,
        Err(bad) => host::refuse(format_args!(
            "TSC frequency of Clock: expected 100000 to 20000000 kHz, got {}",
            bad.got
        )),
    }
}

/// The part of ELRANGE that the heap grows in.
pub(crate) struct Region {
    next: u64,
    end: u64,
}

impl Heap<Region> {
    /// Lets the heap grow no further than `end`.
    fn limit(&self, end: u64) {
        self.with_source(|region| region.end = region.end.min(end.max(region.next)));
    }
}

impl Grow for Region {
    fn grow(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
        let bytes = bytes.checked_next_multiple_of(PAGE as usize)?;
        let start = self.next;
        let end = start.checked_add(bytes as u64).filter(|end| *end <= self.end)?;
        for page in (start..end).step_by(PAGE as usize) {
            if let Err(code) = leaf::accept_new(page) {
                host::refuse(format_args!(
                    "EACCEPT of heap page {page:#x}: expected 0, got {code}"
                ));
            }
        }
        self.next = end;
        Some((NonNull::new(start as *mut u8)?, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sgx::Attributes;

    fn report() -> ReportBody {
        ReportBody {
            attributes: Attributes {
                flags: AttributeFlags::INIT | AttributeFlags::MODE64BIT,
                xfrm: Xfrm::from_bits_retain(0x2e7),
            },
            miscselect: Miscselect::EXINFO,
            ..ReportBody::default()
        }
    }

    #[test]
    fn the_usual_attributes_pass() {
        assert_eq!(check_report(&report()), Ok(()));
    }

    #[test]
    fn attributes_that_the_run_time_cannot_work_with_are_named() {
        let mut amx = report();
        amx.attributes.xfrm = Xfrm::from_bits_retain(0x6_02e7);
        let got = Err(Wrong { field: "ATTRIBUTES.XFRM", expected: 0x2e7, got: 0x6_02e7 });
        assert_eq!(check_report(&amx), got);
        let mut blind = report();
        blind.miscselect = Miscselect::empty();
        let got = Err(Wrong { field: "MISCSELECT", expected: 1, got: 0 });
        assert_eq!(check_report(&blind), got);
        let mut narrow = report();
        narrow.attributes.flags = AttributeFlags::INIT;
        let got = Err(Wrong { field: "ATTRIBUTES.FLAGS", expected: 5, got: 1 });
        assert_eq!(check_report(&narrow), got);
    }
}
