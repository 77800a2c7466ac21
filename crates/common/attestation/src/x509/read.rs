//! Shorthand over the crate `der`.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::X509Error;

/// The contents of one constructed value, read in order.
pub(super) struct Fields<'a>(SliceReader<'a>);

impl<'a> Fields<'a> {
    /// Bytes that hold values one after another.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, X509Error> {
        Ok(Self(SliceReader::new(bytes)?))
    }

    /// Bytes that hold one SEQUENCE and nothing else.
    pub(super) fn of_sequence(bytes: &'a [u8]) -> Result<Self, X509Error> {
        Self::new(whole(bytes, Tag::Sequence)?)
    }

    pub(super) fn sequence(&mut self) -> Result<Self, X509Error> {
        Self::new(self.value(Tag::Sequence)?)
    }

    pub(super) fn set(&mut self) -> Result<Self, X509Error> {
        Self::new(self.value(Tag::Set)?)
    }

    /// The contents of a value of this tag.
    pub(super) fn value(&mut self, tag: Tag) -> Result<&'a [u8], X509Error> {
        let any = AnyRef::decode(&mut self.0)?;
        if any.tag() == tag {
            Ok(any.value())
        } else {
            Err(der::Error::from(any.tag().unexpected_error(Some(tag))).into())
        }
    }

    /// The contents of a value, if its tag comes next.
    pub(super) fn optional(&mut self, tag: Tag) -> Result<Option<&'a [u8]>, X509Error> {
        if !self.next_is(tag) {
            return Ok(None);
        }
        self.value(tag).map(Some)
    }

    /// The contents of an explicitly tagged, constructed value, if it comes next.
    pub(super) fn context(&mut self, number: u32) -> Result<Option<&'a [u8]>, X509Error> {
        self.optional(Tag::ContextSpecific { constructed: true, number: TagNumber(number) })
    }

    pub(super) fn next_is(&self, tag: Tag) -> bool {
        Tag::peek(&self.0).is_ok_and(|next| next == tag)
    }

    /// A whole value, tag and length included.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], X509Error> {
        Ok(self.0.tlv_bytes()?)
    }

    pub(super) fn oid(&mut self) -> Result<ObjectIdentifier, X509Error> {
        Ok(ObjectIdentifier::decode(&mut self.0)?)
    }

    /// The bytes of an INTEGER as they are; DER's shortest form is checked.
    pub(super) fn integer(&mut self) -> Result<&'a [u8], X509Error> {
        Ok(der::asn1::IntRef::decode(&mut self.0)?.as_bytes())
    }

    /// The bits of a BIT STRING of whole bytes.
    pub(super) fn bits(&mut self, name: &'static str) -> Result<&'a [u8], X509Error> {
        BitStringRef::decode(&mut self.0)?.as_bytes().ok_or(X509Error::Field { name })
    }

    /// UTCTime or GeneralizedTime, as Unix seconds.
    pub(super) fn time(&mut self) -> Result<u64, X509Error> {
        let duration = if self.next_is(Tag::UtcTime) {
            UtcTime::decode(&mut self.0)?.to_unix_duration()
        } else {
            GeneralizedTime::decode(&mut self.0)?.to_unix_duration()
        };
        Ok(duration.as_secs())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), X509Error> {
        Ok(self.0.finish()?)
    }
}

/// The contents of bytes that hold one value of this tag and nothing else.
pub(super) fn whole(bytes: &[u8], tag: Tag) -> Result<&[u8], X509Error> {
    let mut fields = Fields::new(bytes)?;
    let value = fields.value(tag)?;
    fields.finish()?;
    Ok(value)
}
