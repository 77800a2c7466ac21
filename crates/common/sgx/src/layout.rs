//! Structures declared once, field by field with the manual's offset, and the code that follows from it.
//!
//! [`layout!`] turns such a declaration into a plain struct with `to_bytes`, `from_bytes`, `parse` and a
//! table of its fields. A declaration whose fields overlap or leave the structure does not compile. Bytes
//! that no field covers are reserved: written as zero, ignored by `from_bytes`, refused by `parse`.

/// Where one field lies in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLayout {
    /// Name, in lower case.
    pub name: &'static str,
    /// Offset in bytes.
    pub offset: usize,
    /// Length in bytes.
    pub size: usize,
}

/// Bytes that are not the structure they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// Not the size of the structure.
    Length {
        /// Name of the structure.
        structure: &'static str,
        /// Its size in bytes.
        expected: usize,
        /// The number of bytes that came.
        got: usize,
    },
    /// A byte that the manual reserves is not zero.
    Reserved {
        /// Name of the structure.
        structure: &'static str,
        /// Offset of the first such byte.
        offset: usize,
        /// Its value.
        got: u8,
    },
}

impl core::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length { structure, expected, got } => {
                write!(f, "{structure}: expected {expected} bytes, got {got}")
            }
            Self::Reserved { structure, offset, got } => {
                write!(
                    f,
                    "{structure}: reserved byte at offset {offset}: expected 0, got {got:#04x}"
                )
            }
        }
    }
}

impl core::error::Error for LayoutError {}

/// A value in memory at the alignment that an ENCLU operand needs.
///
/// TARGETINFO, KEYREQUEST and the REPORT output take 512, REPORTDATA 128, SECINFO 64, a key 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(512))]
pub struct Aligned<T>(pub T);

/// A value that a structure can hold.
pub(crate) trait Field {
    /// Length in bytes.
    const SIZE: usize;
    /// Writes the value; `out` is [`SIZE`](Self::SIZE) bytes.
    fn store(&self, out: &mut [u8]);
    /// Reads a value; `bytes` is [`SIZE`](Self::SIZE) bytes. Every content is a value.
    fn load(bytes: &[u8]) -> Self;
}

macro_rules! integer_fields {
    ($($integer:ty),+) => {$(
        impl Field for $integer {
            const SIZE: usize = size_of::<$integer>();
            fn store(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
            fn load(bytes: &[u8]) -> Self {
                let mut le = [0; size_of::<$integer>()];
                le.copy_from_slice(bytes);
                Self::from_le_bytes(le)
            }
        }
    )+};
}
integer_fields!(u8, u16, u32, u64);

impl<const N: usize> Field for [u8; N] {
    const SIZE: usize = N;
    fn store(&self, out: &mut [u8]) {
        out.copy_from_slice(self);
    }
    fn load(bytes: &[u8]) -> Self {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
}

/// Implements [`Field`] for `bitflags` types; unknown bits are kept.
macro_rules! flags_field {
    ($flags:ty, $bits:ty) => {
        impl $crate::layout::Field for $flags {
            const SIZE: usize = size_of::<$bits>();
            fn store(&self, out: &mut [u8]) {
                $crate::layout::Field::store(&self.bits(), out);
            }
            fn load(bytes: &[u8]) -> Self {
                Self::from_bits_retain(<$bits as $crate::layout::Field>::load(bytes))
            }
        }
    };
}
pub(crate) use flags_field;

/// Whether fields ascend, do not overlap and end inside the structure.
pub(crate) const fn is_sound(fields: &[FieldLayout], size: usize) -> bool {
    let (mut end, mut i) = (0, 0);
    while i < fields.len() {
        if fields[i].offset < end {
            return false;
        }
        end = fields[i].offset + fields[i].size;
        i += 1;
    }
    end <= size
}

/// Offset of the named field.
pub(crate) const fn offset_in(fields: &[FieldLayout], name: &str) -> usize {
    let mut i = 0;
    while i < fields.len() {
        if same(fields[i].name.as_bytes(), name.as_bytes()) {
            return fields[i].offset;
        }
        i += 1;
    }
    panic!("no such field")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Refuses a reserved byte that is not zero.
pub(crate) fn check_reserved(
    structure: &'static str,
    fields: &[FieldLayout],
    bytes: &[u8],
) -> Result<(), LayoutError> {
    let mut start = 0;
    let end = FieldLayout { name: "", offset: bytes.len(), size: 0 };
    for field in fields.iter().chain([&end]) {
        if let Some(at) = bytes[start..field.offset].iter().position(|&byte| byte != 0) {
            let offset = start + at;
            return Err(LayoutError::Reserved { structure, offset, got: bytes[offset] });
        }
        start = field.offset + field.size;
    }
    Ok(())
}

macro_rules! layout {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $offset:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("\n\nAt offset ", stringify!($offset), ".")]
                pub $field: $type,
            )+
        }

        impl $name {
            /// Size in bytes.
            pub const SIZE: usize = $size;

            /// Every field, by ascending offset. What lies between is reserved.
            pub const FIELDS: &'static [$crate::layout::FieldLayout] = &[$(
                $crate::layout::FieldLayout {
                    name: stringify!($field),
                    offset: $offset,
                    size: <$type as $crate::layout::Field>::SIZE,
                },
            )+];

            /// Offset in bytes of the field called `field`, for use in a `const`.
            ///
            /// # Panics
            /// If there is no such field: in a `const`, that is a compile error.
            #[must_use]
            pub const fn offset(field: &str) -> usize {
                $crate::layout::offset_in(Self::FIELDS, field)
            }

            /// The structure as bytes, reserved ones zero.
            #[must_use]
            #[allow(clippy::wrong_self_convention, reason = "a page is not passed by value")]
            pub fn to_bytes(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                $($crate::layout::Field::store(
                    &self.$field,
                    &mut bytes[$offset..$offset + <$type as $crate::layout::Field>::SIZE],
                );)+
                bytes
            }

            /// Reads the fields; reserved bytes are ignored.
            #[must_use]
            pub fn from_bytes(bytes: &[u8; $size]) -> Self {
                Self {
                    $($field: $crate::layout::Field::load(
                        &bytes[$offset..$offset + <$type as $crate::layout::Field>::SIZE],
                    ),)+
                }
            }

            /// Reads the fields of outside bytes.
            ///
            /// # Errors
            /// Another length, or a reserved byte that is not zero.
            pub fn parse(bytes: &[u8]) -> Result<Self, $crate::LayoutError> {
                let bytes: &[u8; $size] =
                    bytes.try_into().map_err(|_| $crate::LayoutError::Length {
                        structure: stringify!($name),
                        expected: $size,
                        got: bytes.len(),
                    })?;
                $crate::layout::check_reserved(stringify!($name), Self::FIELDS, bytes)?;
                Ok(Self::from_bytes(bytes))
            }
        }

        /// All zero.
        impl Default for $name {
            fn default() -> Self {
                Self::from_bytes(&[0; $size])
            }
        }

        impl $crate::layout::Field for $name {
            const SIZE: usize = $size;
            fn store(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_bytes());
            }
            fn load(bytes: &[u8]) -> Self {
                let mut array = [0; $size];
                array.copy_from_slice(bytes);
                Self::from_bytes(&array)
            }
        }

        const _: () = assert!(
            $crate::layout::is_sound($name::FIELDS, $size),
            "fields overlap, are out of order or leave the structure"
        );
    };
}
pub(crate) use layout;

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro declares public structures")]
mod tests {
    use super::*;

    layout! {
        /// With a hole at each place a hole can be.
        pub struct Holes: 16 {
            /// After a hole.
            a: u16 = 2,
            /// After another.
            b: [u8; 3] = 8,
        }
    }

    #[test]
    fn fields_land_at_their_offsets() {
        let holes = Holes { a: 0x0201, b: [3, 4, 5] };
        let bytes = holes.to_bytes();
        assert_eq!(bytes, [0, 0, 1, 2, 0, 0, 0, 0, 3, 4, 5, 0, 0, 0, 0, 0]);
        assert_eq!(Holes::from_bytes(&bytes), holes);
        assert_eq!(Holes::offset("b"), 8);
    }

    #[test]
    fn reserved_bytes_are_refused_wherever_they_lie() {
        for offset in 0..Holes::SIZE {
            let mut bytes = [0; Holes::SIZE];
            bytes[offset] = 7;
            let parsed = Holes::parse(&bytes);
            if matches!(offset, 2 | 3 | 8 | 9 | 10) {
                assert!(parsed.is_ok());
            } else {
                assert_eq!(
                    parsed,
                    Err(LayoutError::Reserved { structure: "Holes", offset, got: 7 })
                );
            }
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        let refusal = Err(LayoutError::Length { structure: "Holes", expected: 16, got: 15 });
        assert_eq!(Holes::parse(&[0; 15]), refusal);
        assert!(Holes::parse(&[0; 17]).is_err());
    }

    #[test]
    fn unsound_declarations_are_seen() {
        let field = |offset, size| FieldLayout { name: "", offset, size };
        assert!(is_sound(&[field(0, 4), field(4, 4)], 8));
        assert!(!is_sound(&[field(0, 5), field(4, 4)], 8), "overlap");
        assert!(!is_sound(&[field(0, 4), field(4, 5)], 8), "past the end");
    }
}
