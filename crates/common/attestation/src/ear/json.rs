//! JSON in which no object has a key twice.
//!
//! Where two readers take different ones of two equal keys, a token means one thing to who signed it and
//! another to who obeys it. RFC 7519 section 4 lets a reader refuse or take the last; serde_json takes the last. We
//! refuse. Depth is bounded by serde_json (128).

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one value and nothing after it.
///
/// # Errors
/// Not JSON, a key twice, too deep.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Unique>(bytes).map(|unique| unique.0)
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a key twice")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = alloc::vec::Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<alloc::string::String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("key '{key}' comes twice")));
            }
            let Unique(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_reads_is_what_serde_json_reads() {
        let text =
            br#" {"a":[1,-2,3.5,null,true,"\u0061\n"],"b":{"a":{}},"c":18446744073709551615} "#;
        assert_eq!(parse(text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth_and_in_any_spelling() {
        for text in
            [&br#"{"a":1,"a":1}"#[..], br#"{"x":[{"a":1,"b":2,"a":3}]}"#, br#"{"a":1,"\u0061":2}"#]
        {
            let error = parse(text).unwrap_err();
            assert!(alloc::format!("{error}").contains("'a' comes twice"), "{error}");
        }
        assert!(parse(br#"{"a":{"a":1}}"#).is_ok(), "the same key at another depth is another");
    }

    #[test]
    fn depth_and_tails_are_bounded() {
        assert!(parse(&b"[".repeat(100_000)).is_err());
        assert!(parse(b"{} {}").is_err());
        assert!(parse(b"").is_err());
    }
}
