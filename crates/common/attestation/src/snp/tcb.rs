//! TCB versions: the security version of each part of AMD's firmware, in eight bytes.
//!
//! Document 56860, table "TCB_VERSION Structure", and 57230, "Versioned Chip Endorsement Key (VCEK)
//! Certificate and KDS Interface Specification", for the certificate's names of the same parts.
//!
//! A TCB is as new as another only if *each* part is: there is no total order, and comparing the eight bytes
//! as one number, as some tools do, takes a new microcode for a new firmware.

use core::fmt;

use super::product::Product;

/// The parts of one TCB version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcb {
    /// FMC, the first mutable code of the secure processor: from Turin on.
    pub fmc: Option<u8>,
    /// Boot loader of the secure processor.
    pub bootloader: u8,
    /// Its operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode: the oldest of all cores.
    pub microcode: u8,
    /// Bytes that are reserved so far, in the order in which they lie. They count as parts: a certificate
    /// must have the same, and a floor of zero is the only one that can be asked for.
    pub reserved: [u8; 4],
}

impl Tcb {
    /// Takes the bytes of a report apart.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8], product: Product) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        match product {
            Product::Milan | Product::Genoa => Self {
                fmc: None,
                bootloader: a,
                tee: b,
                snp: g,
                microcode: h,
                reserved: [c, d, e, f],
            },
            Product::Turin => Self {
                fmc: Some(a),
                bootloader: b,
                tee: c,
                snp: d,
                microcode: h,
                reserved: [0, e, f, g],
            },
        }
    }

    /// The parts that are older than in `floor`, by the names that policies use.
    pub fn below(self, floor: TcbFloor) -> impl Iterator<Item = TcbPart> {
        [
            TcbPart { name: "fmc", floor: floor.fmc, got: self.fmc.unwrap_or(0) },
            TcbPart { name: "bootloader", floor: floor.bootloader, got: self.bootloader },
            TcbPart { name: "tee", floor: floor.tee, got: self.tee },
            TcbPart { name: "snp", floor: floor.snp, got: self.snp },
            TcbPart { name: "microcode", floor: floor.microcode, got: self.microcode },
        ]
        .into_iter()
        .filter(|part| part.got < part.floor)
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc} ")?;
        }
        let Self { bootloader, tee, snp, microcode, reserved, .. } = self;
        write!(f, "bootloader {bootloader} tee {tee} snp {snp} microcode {microcode}")?;
        if *reserved != [0; 4] {
            write!(f, " reserved {reserved:?}")?;
        }
        Ok(())
    }
}

/// The oldest acceptable version of each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcbFloor {
    /// FMC; zero for products without one.
    pub fmc: u8,
    /// Boot loader.
    pub bootloader: u8,
    /// Operating system of the secure processor.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

impl fmt::Display for TcbFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fmc, bootloader, tee, snp, microcode } = self;
        if *fmc != 0 {
            write!(f, "fmc {fmc} ")?;
        }
        write!(f, "bootloader {bootloader} tee {tee} snp {snp} microcode {microcode} or newer")
    }
}

/// A part that is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcbPart {
    /// Which.
    pub name: &'static str,
    /// The oldest acceptable.
    pub floor: u8,
    /// What the report has.
    pub got: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_elsewhere_from_turin_on() {
        let bytes = [1, 2, 3, 4, 0, 0, 7, 8];
        let milan = Tcb::from_bytes(bytes, Product::Milan);
        assert_eq!((milan.fmc, milan.bootloader, milan.tee), (None, 1, 2));
        assert_eq!((milan.snp, milan.microcode, milan.reserved), (7, 8, [3, 4, 0, 0]));
        let turin = Tcb::from_bytes(bytes, Product::Turin);
        assert_eq!((turin.fmc, turin.bootloader, turin.tee), (Some(1), 2, 3));
        assert_eq!((turin.snp, turin.microcode, turin.reserved), (4, 8, [0, 0, 0, 7]));
    }

    #[test]
    fn a_newer_part_does_not_make_up_for_an_older_one() {
        let tcb = Tcb { snp: 7, microcode: 255, ..Tcb::default() };
        let floor = TcbFloor { snp: 8, microcode: 115, ..TcbFloor::default() };
        let below: [TcbPart; 1] = {
            let mut parts = tcb.below(floor);
            let first = parts.next().unwrap();
            assert!(parts.next().is_none());
            [first]
        };
        assert_eq!(below, [TcbPart { name: "snp", floor: 8, got: 7 }]);
    }

    #[test]
    fn each_part_has_its_floor() {
        let one = |set: fn(&mut TcbFloor)| {
            let mut floor = TcbFloor::default();
            set(&mut floor);
            Tcb::default().below(floor).map(|part| part.name).next().unwrap()
        };
        assert_eq!(one(|floor| floor.fmc = 1), "fmc");
        assert_eq!(one(|floor| floor.bootloader = 1), "bootloader");
        assert_eq!(one(|floor| floor.tee = 1), "tee");
        assert_eq!(one(|floor| floor.snp = 1), "snp");
        assert_eq!(one(|floor| floor.microcode = 1), "microcode");
    }
}
