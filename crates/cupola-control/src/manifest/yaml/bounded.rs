//! Reads YAML as plain values, and no more of them than a manifest can need.
//!
//! An alias stands for a whole copy of what it names, so that the length of a text bounds nothing.

use std::{cell::Cell, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_json::{Map, Value};

use super::to_text;

const VALUES_MAX: usize = 100_000;
const TEXT_MIB_MAX: usize = 8;

/// The only document of a text.
pub(super) fn read(text: &str) -> Result<Value, serde_yaml_ng::Error> {
    let left = Left { values: Cell::new(VALUES_MAX), text: Cell::new(TEXT_MIB_MAX << 20) };
    Node(&left).deserialize(serde_yaml_ng::Deserializer::from_str(text))
}

/// What may still be read.
struct Left {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Left {
    fn take_value<E: Error>(&self) -> Result<(), E> {
        let left = self.values.get().checked_sub(1).ok_or_else(|| {
            E::custom(format_args!("it stands for more than {VALUES_MAX} values; write fewer"))
        })?;
        self.values.set(left);
        Ok(())
    }

    fn take_text<E: Error>(&self, text: &str) -> Result<(), E> {
        let left = self.text.get().checked_sub(text.len()).ok_or_else(|| {
            E::custom(format_args!(
                "it stands for more than {TEXT_MIB_MAX} MiB of text; write less"
            ))
        })?;
        self.text.set(left);
        Ok(())
    }
}

/// Reads one value with all that it holds.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Left);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.take_value()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.take_text(text)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    /// A key of any kind becomes text.
    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = pairs.next_key_seed(self)? {
            let key = to_text(&key);
            let value = pairs.next_value_seed(self)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("it has the key \"{key}\" twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    /// A tagged value is the value.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (IgnoredAny, contents) = tagged.variant()?;
        contents.newtype_variant_seed(self)
    }
}
