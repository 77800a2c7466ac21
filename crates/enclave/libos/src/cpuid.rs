//! CPUID as programs see it.
//!
//! CPUID is illegal in an enclave and the host's answer could not be trusted, so there is one table for all
//! machines: what every CPU with SGX2 has (Ice Lake and later), less what XFRM does not allow and less what
//! an emulator's ordinary CPU may lack. Leaf and register layout: Intel SDM Vol. 2A, CPUID; order no.
//! 325383, 2023.

use alloc::string::String;

/// Highest basic leaf.
const MAX_BASIC: u32 = 0xd;
/// Highest extended leaf.
const MAX_EXTENDED: u32 = 0x8000_0008;

const XFRM_AVX: u64 = 0b110;
const XFRM_AVX512: u64 = 0b1110_0110;

/// Extended state components past the legacy area: bit in XFRM, offset, size (standard format).
const COMPONENTS: [(u32, u32, u32); 5] =
    [(2, 576, 256), (5, 1088, 64), (6, 1152, 512), (7, 1664, 1024), (9, 2688, 8)];

/// One feature: name in /proc/cpuinfo, register word, bit.
type Feature = (&'static str, Word, u32);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Leaf1Edx,
    Leaf1Ecx,
    Leaf7Ebx,
    Leaf7Ecx,
    LeafDSub1Eax,
    ExtendedEdx,
    ExtendedEcx,
}

/// What every machine that we support has. Not XSAVEC, which packs what XCR0 enables: an emulator cannot make
/// XCR0 equal to XFRM, and a program that reserves the size by XFRM would overrun it (ld.so does).
const ALWAYS: &[Feature] = &[
    ("fpu", Word::Leaf1Edx, 0),
    ("tsc", Word::Leaf1Edx, 4),
    ("cx8", Word::Leaf1Edx, 8),
    ("cmov", Word::Leaf1Edx, 15),
    ("clflush", Word::Leaf1Edx, 19),
    ("mmx", Word::Leaf1Edx, 23),
    ("fxsr", Word::Leaf1Edx, 24),
    ("sse", Word::Leaf1Edx, 25),
    ("sse2", Word::Leaf1Edx, 26),
    ("ht", Word::Leaf1Edx, 28),
    ("pni", Word::Leaf1Ecx, 0),
    ("pclmulqdq", Word::Leaf1Ecx, 1),
    ("ssse3", Word::Leaf1Ecx, 9),
    ("cx16", Word::Leaf1Ecx, 13),
    ("sse4_1", Word::Leaf1Ecx, 19),
    ("sse4_2", Word::Leaf1Ecx, 20),
    ("popcnt", Word::Leaf1Ecx, 23),
    ("aes", Word::Leaf1Ecx, 25),
    ("xsave", Word::Leaf1Ecx, 26),
    ("osxsave", Word::Leaf1Ecx, 27),
    ("rdrand", Word::Leaf1Ecx, 30),
    ("hypervisor", Word::Leaf1Ecx, 31),
    ("fsgsbase", Word::Leaf7Ebx, 0),
    ("erms", Word::Leaf7Ebx, 9),
    ("rdseed", Word::Leaf7Ebx, 18),
    ("clflushopt", Word::Leaf7Ebx, 23),
    ("xsaveopt", Word::LeafDSub1Eax, 0),
    ("syscall", Word::ExtendedEdx, 11),
    ("nx", Word::ExtendedEdx, 20),
    ("rdtscp", Word::ExtendedEdx, 27),
    ("lm", Word::ExtendedEdx, 29),
    ("lahf_lm", Word::ExtendedEcx, 0),
    ("3dnowprefetch", Word::ExtendedEcx, 8),
];

/// What comes with the 256-bit state (and on every such CPU since Haswell).
const WITH_AVX: &[Feature] = &[
    ("fma", Word::Leaf1Ecx, 12),
    ("movbe", Word::Leaf1Ecx, 22),
    ("avx", Word::Leaf1Ecx, 28),
    ("f16c", Word::Leaf1Ecx, 29),
    ("bmi1", Word::Leaf7Ebx, 3),
    ("avx2", Word::Leaf7Ebx, 5),
    ("bmi2", Word::Leaf7Ebx, 8),
    ("abm", Word::ExtendedEcx, 5),
];

/// What comes with the 512-bit state (and on every such CPU since Skylake-SP).
const WITH_AVX512: &[Feature] = &[
    ("avx512f", Word::Leaf7Ebx, 16),
    ("avx512dq", Word::Leaf7Ebx, 17),
    ("avx512cd", Word::Leaf7Ebx, 28),
    ("avx512bw", Word::Leaf7Ebx, 30),
    ("avx512vl", Word::Leaf7Ebx, 31),
];

/// The table for one enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpuid {
    xfrm: u64,
    processors: u32,
}

impl Cpuid {
    /// `xfrm` is the enclave's own (by EREPORT), `processors` what programs are told, 1 to 4096.
    #[must_use]
    pub fn new(xfrm: u64, processors: u32) -> Self {
        Self { xfrm, processors: processors.clamp(1, 4096) }
    }

    /// EAX, EBX, ECX, EDX. A leaf that there is not answers zeros.
    #[must_use]
    pub fn answer(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        match (leaf, subleaf) {
            (0, _) => vendor(MAX_BASIC),
            // Family 6, model 0x6a (Ice Lake server), stepping 6.
            (1, _) => [
                0x0006_06a6,
                self.processors.min(255) << 16 | 8 << 8,
                self.word(Word::Leaf1Ecx),
                self.word(Word::Leaf1Edx),
            ],
            // L1 data 32 KiB (2c), L1 code 32 KiB (30), L2 2 MiB (7d), L3 8 MiB (e4), prefetch 64 bytes (f0),
            // as leaf 4 has them. With descriptor ff ("ask leaf 4") glibc asks thirty times more at each start,
            // and each is an exception.
            (2, _) => [0x7d30_2c01, 0xf0e4, 0, 0],
            (4, _) => self.cache(subleaf),
            (7, 0) => [0, self.word(Word::Leaf7Ebx), self.word(Word::Leaf7Ecx), 0],
            (0xb, 0) => [0, 1, 0x100, 0],
            (0xb, 1) => [bits_for(self.processors), self.processors, 0x201, 0],
            (0xb, _) => [0, 0, subleaf & 0xff, 0],
            (0xd, 0) => [self.xfrm as u32, self.area(), self.area(), (self.xfrm >> 32) as u32],
            (0xd, 1) => [self.word(Word::LeafDSub1Eax), self.compact_area(), 0, 0],
            (0xd, component) => self.component(component),
            (0x8000_0000, _) => [MAX_EXTENDED, 0, 0, 0],
            (0x8000_0001, _) => [0, 0, self.word(Word::ExtendedEcx), self.word(Word::ExtendedEdx)],
            (0x8000_0002..=0x8000_0004, _) => brand(leaf - 0x8000_0002),
            // L2: 64-byte lines, 8 ways, 2 MiB.
            (0x8000_0006, _) => [0, 0, 0x0800_6040, 0],
            // 46 physical and 48 linear address bits.
            (0x8000_0008, _) => [0x302e, 0, 0, 0],
            _ => [0; 4],
        }
    }

    /// AT_HWCAP: EDX of leaf 1.
    #[must_use]
    pub fn hwcap(&self) -> u64 {
        u64::from(self.word(Word::Leaf1Edx))
    }

    /// AT_HWCAP2: FSGSBASE may be used.
    #[must_use]
    pub const fn hwcap2(&self) -> u64 {
        0b10
    }

    /// The `flags` line of /proc/cpuinfo.
    #[must_use]
    pub fn flags(&self) -> String {
        let mut line = String::new();
        for (name, _, _) in self.features() {
            if *name != "osxsave" {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(name);
            }
        }
        line
    }

    fn features(&self) -> impl Iterator<Item = &'static Feature> {
        let avx = if self.xfrm & XFRM_AVX == XFRM_AVX { WITH_AVX } else { &[] };
        let avx512 = if self.xfrm & XFRM_AVX512 == XFRM_AVX512 { WITH_AVX512 } else { &[] };
        ALWAYS.iter().chain(avx).chain(avx512)
    }

    fn word(&self, word: Word) -> u32 {
        self.features()
            .filter(|feature| feature.1 == word)
            .fold(0, |bits, feature| bits | 1 << feature.2)
    }

    fn components(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        COMPONENTS.into_iter().filter(|(bit, _, _)| self.xfrm >> bit & 1 == 1)
    }

    /// Bytes of the standard-format area.
    fn area(&self) -> u32 {
        self.components().map(|(_, offset, size)| offset + size).last().unwrap_or(576)
    }

    /// Bytes of the compacted area.
    fn compact_area(&self) -> u32 {
        576 + self.components().map(|(_, _, size)| size).sum::<u32>()
    }

    fn component(&self, bit: u32) -> [u32; 4] {
        self.components()
            .find(|component| component.0 == bit)
            .map_or([0; 4], |(_, offset, size)| [size, offset, 0, 0])
    }

    /// Leaf 4: L1 data 48 KiB, L1 instruction 32 KiB, L2 1 MiB, L3 16 MiB, shared by all.
    fn cache(&self, index: u32) -> [u32; 4] {
        let (kind, level, ways, sets, sharers) = match index {
            0 => (1, 1, 8, 64, 1),
            1 => (2, 1, 8, 64, 1),
            2 => (3, 2, 8, 4096, 1),
            3 => (3, 3, 16, 8192, self.processors),
            _ => return [0; 4],
        };
        let cores = self.processors.min(64) - 1;
        [
            cores << 26 | (sharers - 1) << 14 | 1 << 8 | level << 5 | kind,
            (ways - 1) << 22 | 63,
            sets - 1,
            0,
        ]
    }
}

fn vendor(eax: u32) -> [u32; 4] {
    [eax, 0x756e_6547, 0x6c65_746e, 0x4965_6e69] // GenuineIntel, in EBX, EDX, ECX
}

/// Part of the brand string.
fn brand(part: u32) -> [u32; 4] {
    const NAME: &[u8; 48] =
        b"SGX enclave CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let at = part as usize * 16;
    core::array::from_fn(|index| {
        let from = at + index * 4;
        u32::from_le_bytes([NAME[from], NAME[from + 1], NAME[from + 2], NAME[from + 3]])
    })
}

/// Bits to shift an APIC id to get past `count` processors.
const fn bits_for(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Cpuid = Cpuid { xfrm: 0x2e7, processors: 4 };
    const SSE: Cpuid = Cpuid { xfrm: 0x3, processors: 4 };

    #[test]
    fn xfrm_masks_what_programs_may_use() {
        let avx = 1 << 28;
        assert_ne!(ALL.answer(1, 0)[2] & avx, 0);
        assert_eq!(SSE.answer(1, 0)[2] & avx, 0);
        assert_ne!(ALL.answer(7, 0)[1] & 1 << 16, 0);
        assert_eq!(Cpuid::new(0x7, 1).answer(7, 0)[1] & 1 << 16, 0);
        assert!(SSE.flags().split(' ').all(|flag| !flag.starts_with("avx")));
    }

    #[test]
    fn save_area_grows_with_xfrm() {
        assert_eq!(SSE.answer(0xd, 0), [3, 576, 576, 0]);
        assert_eq!(ALL.answer(0xd, 0), [0x2e7, 2696, 2696, 0]);
        assert_eq!(ALL.answer(0xd, 7), [1024, 1664, 0, 0]);
        assert_eq!(SSE.answer(0xd, 7), [0; 4]);
    }

    #[test]
    fn every_leaf_answers() {
        for leaf in (0..0x20).chain(0x4000_0000..0x4000_0004).chain(0x8000_0000..0x8000_0010) {
            for subleaf in 0..70 {
                let _ = Cpuid::new(u64::MAX, u32::MAX).answer(leaf, subleaf);
                let _ = Cpuid::new(0, 0).answer(leaf, subleaf);
            }
        }
    }

    #[test]
    fn this_machine_has_what_the_table_promises() {
        // What the emulator runs programs on must not lack what they are told of.
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags: Vec<&str> =
            text.lines().find(|line| line.starts_with("flags")).unwrap().split(' ').collect();
        for flag in SSE.flags().split(' ').filter(|flag| *flag != "hypervisor") {
            assert!(flags.contains(&flag), "{flag}");
        }
    }
}
