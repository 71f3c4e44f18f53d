//! Values as PostgreSQL's binary formats have them.

use std::error::Error;

use bytes::BytesMut;
use chrono::{DateTime, NaiveDate, Utc};
use postgres_protocol::{
    IsNull, Oid,
    types::{
        ArrayDimension, array_to_sql, bool_to_sql, date_to_sql, int4_to_sql, int8_to_sql, text_to_sql,
        timestamp_to_sql, uuid_to_sql,
    },
};
use uuid::Uuid;

/// PostgreSQL counts from 2000-01-01T00:00:00Z; in microseconds since 1970 that is
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// and in days since the year 1:
const EPOCH_DAYS: i32 = 730_120;

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type(Oid);

impl Type {
    pub const BOOL: Self = Self(16);
    pub const INT8: Self = Self(20);
    pub const INT4: Self = Self(23);
    pub const TEXT: Self = Self(25);
    pub const TEXT_ARRAY: Self = Self(1009);
    pub const DATE: Self = Self(1082);
    pub const TIMESTAMPTZ: Self = Self(1184);
    pub const UUID: Self = Self(2950);

    /// Its number in `pg_type`.
    pub const fn oid(self) -> Oid {
        self.0
    }
}

/// What came of writing a value.
pub type Written = Result<IsNull, Box<dyn Error + Send + Sync>>;

/// A value that can be a parameter.
pub trait ToSql {
    /// Appends the value.
    fn to_sql(&self, out: &mut BytesMut) -> Written;
}

impl<T: ToSql + ?Sized> ToSql for &T {
    fn to_sql(&self, out: &mut BytesMut) -> Written {
        (**self).to_sql(out)
    }
}

impl<T: ToSql> ToSql for Option<T> {
    fn to_sql(&self, out: &mut BytesMut) -> Written {
        self.as_ref().map_or(Ok(IsNull::Yes), |value| value.to_sql(out))
    }
}

macro_rules! to_sql {
    ($($type:ty: |$value:ident, $out:ident| $write:expr;)*) => {$(
        impl ToSql for $type {
            fn to_sql(&self, $out: &mut BytesMut) -> Written {
                let $value = self;
                $write;
                Ok(IsNull::No)
            }
        }
    )*};
}

to_sql! {
    bool: |value, out| bool_to_sql(*value, out);
    i32: |value, out| int4_to_sql(*value, out);
    i64: |value, out| int8_to_sql(*value, out);
    str: |value, out| text_to_sql(value, out);
    String: |value, out| text_to_sql(value, out);
    Uuid: |value, out| uuid_to_sql(value.into_bytes(), out);
    DateTime<Utc>: |value, out| timestamp_to_sql(value.timestamp_micros().saturating_sub(EPOCH_MICROS), out);
    NaiveDate: |value, out| date_to_sql(chrono::Datelike::num_days_from_ce(value).saturating_sub(EPOCH_DAYS), out);
    Vec<String>: |value, out| {
        let dimension = ArrayDimension { len: value.len().try_into()?, lower_bound: 1 };
        array_to_sql([dimension], Type::TEXT.oid(), value, ToSql::to_sql, out)?
    };
}

/// A value that can be read from a column; `None` if it is of another type.
pub trait FromSql<'a>: Sized {
    /// Reads the value.
    fn from_sql(bytes: &'a [u8]) -> Option<Self>;

    /// Reads the value of a column that may be NULL.
    fn from_column(column: Option<&'a [u8]>) -> Option<Self> {
        column.and_then(Self::from_sql)
    }
}

impl<'a, T: FromSql<'a>> FromSql<'a> for Option<T> {
    fn from_sql(bytes: &'a [u8]) -> Option<Self> {
        T::from_sql(bytes).map(Some)
    }

    fn from_column(column: Option<&'a [u8]>) -> Option<Self> {
        column.map_or(Some(None), Self::from_sql)
    }
}

impl FromSql<'_> for bool {
    fn from_sql(bytes: &[u8]) -> Option<Self> {
        matches!(bytes, [_]).then(|| bytes != [0])
    }
}

impl FromSql<'_> for i32 {
    fn from_sql(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl FromSql<'_> for i64 {
    fn from_sql(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl<'a> FromSql<'a> for &'a str {
    fn from_sql(bytes: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()
    }
}

impl FromSql<'_> for String {
    fn from_sql(bytes: &[u8]) -> Option<Self> {
        <&str>::from_sql(bytes).map(str::to_owned)
    }
}

impl FromSql<'_> for Uuid {
    fn from_sql(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl FromSql<'_> for DateTime<Utc> {
    fn from_sql(bytes: &[u8]) -> Option<Self> {
        i64::from_sql(bytes)?.checked_add(EPOCH_MICROS).and_then(Self::from_timestamp_micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &dyn ToSql) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        match value.to_sql(&mut out).unwrap() {
            IsNull::Yes => None,
            IsNull::No => Some(out.to_vec()),
        }
    }

    #[test]
    fn values_are_written_as_postgresql_reads_them() {
        assert_eq!(written(&true).unwrap(), [1]);
        assert_eq!(written(&-2i32).unwrap(), [0xFF, 0xFF, 0xFF, 0xFE]);
        assert_eq!(written(&Some("ü")).unwrap(), "ü".as_bytes());
        assert_eq!(written(&None::<&str>), None);
        let moment = DateTime::parse_from_rfc3339("2000-01-01T00:00:01.5Z").unwrap().to_utc();
        assert_eq!(written(&moment).unwrap(), 1_500_000i64.to_be_bytes());
        assert_eq!(written(&NaiveDate::from_ymd_opt(1999, 12, 30).unwrap()).unwrap(), (-2i32).to_be_bytes());
        let array = written(&vec!["a".to_owned(), String::new()]).unwrap();
        assert_eq!(array, b"\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\x02\0\0\0\x01\0\0\0\x01a\0\0\0\0");
    }

    #[test]
    fn other_types_are_refused() {
        assert_eq!(bool::from_column(Some(&[])), None);
        assert_eq!(i32::from_column(Some(&[0; 8])), None);
        assert_eq!(i64::from_column(None), None);
        assert_eq!(<&str>::from_column(Some(&[0xFF])), None);
        assert_eq!(Uuid::from_column(Some(&[0; 15])), None);
        // PostgreSQL's `infinity`.
        assert_eq!(DateTime::<Utc>::from_column(Some(&i64::MAX.to_be_bytes())), None);
        assert_eq!(Option::<i32>::from_column(Some(&[1])), None);
        assert_eq!(Option::<i32>::from_column(None), Some(None));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number in any::<i64>(), small in any::<i32>(), text in ".*", id in any::<u128>()) {
            prop_assert_eq!(i64::from_column(written(&number).as_deref()), Some(number));
            prop_assert_eq!(i32::from_column(written(&small).as_deref()), Some(small));
            prop_assert_eq!(String::from_column(written(&text).as_deref()), Some(text));
            let id = Uuid::from_u128(id);
            prop_assert_eq!(Option::from_column(written(&id).as_deref()), Some(Some(id)));
            let moment = DateTime::from_timestamp_micros(number / 1000).unwrap_or_default();
            prop_assert_eq!(DateTime::from_column(written(&moment).as_deref()), Some(moment));
        }
    }
}
