//! A statement and the answer to it.

use std::io;

use bytes::BytesMut;
use postgres_protocol::message::{
    backend,
    frontend::{self, BindError},
};

use super::{
    Error, Param,
    incoming::{Message, refusal},
    value::FromSql,
};

/// Writes everything that runs a statement. Whoever reads a row knows its types; its description is asked for all the
/// same, since every client that Hyperdrive is known to serve does.
pub fn write(statement: &str, params: &[Param<'_>], out: &mut BytesMut) -> Result<(), Error> {
    const BINARY: i16 = 1;
    frontend::parse("", statement, params.iter().map(|(_, of)| of.oid()), out)?;
    frontend::bind("", "", [BINARY], params, |(value, _), out| value.to_sql(out), [BINARY], out).map_err(|error| {
        match error {
            BindError::Conversion(error) => io::Error::other(error),
            BindError::Serialization(error) => error,
        }
    })?;
    frontend::describe(b'P', "", out)?;
    frontend::execute("", 0, out)?;
    frontend::sync(out);
    Ok(())
}

/// As much of a statement's answer as there is.
#[derive(Default)]
pub struct Answer {
    row: Option<Row>,
    is_complete: bool,
}

impl Answer {
    /// Takes a message of the server. Returns whether it was the last one.
    pub fn take(&mut self, message: Message<'_>) -> Result<bool, Error> {
        match message.tag {
            backend::DATA_ROW_TAG => {
                self.row.get_or_insert_with(|| Row(message.body.to_vec()));
            }
            backend::COMMAND_COMPLETE_TAG => self.is_complete = true,
            // Without the message before, no row would not mean that there is none.
            backend::READY_FOR_QUERY_TAG if self.is_complete => return Ok(true),
            backend::ERROR_RESPONSE_TAG => return Err(refusal(message.body)),
            backend::PARSE_COMPLETE_TAG
            | backend::BIND_COMPLETE_TAG
            | backend::ROW_DESCRIPTION_TAG
            | backend::NO_DATA_TAG
            | backend::NOTICE_RESPONSE_TAG
            | backend::PARAMETER_STATUS_TAG => {}
            _ => return Err(Error::Unexpected),
        }
        Ok(false)
    }

    /// The first row, if there was one.
    pub fn into_row(self) -> Option<Row> {
        self.row
    }
}

/// A row: the number of its columns, then each one's length (-1 for NULL) and value.
#[derive(Debug)]
pub struct Row(Vec<u8>);

impl Row {
    /// The value of a column; the first one is 0.
    pub fn try_get<'a, I: TryInto<usize>, T: FromSql<'a>>(&'a self, index: I) -> Result<T, Error> {
        index.try_into().ok().and_then(|index| self.column(index)).and_then(T::from_column).ok_or(Error::Shape)
    }

    fn column(&self, index: usize) -> Option<Option<&[u8]>> {
        let (count, mut rest) = self.0.split_first_chunk()?;
        if index >= u16::from_be_bytes(*count).into() {
            return None;
        }
        let mut column = None;
        for _ in 0..=index {
            let (length, after) = rest.split_first_chunk()?;
            (column, rest) = match i32::from_be_bytes(*length) {
                -1 => (None, after),
                length => after.split_at_checked(length.try_into().ok()?).map(|(column, rest)| (Some(column), rest))?,
            };
        }
        Some(column)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            Type,
            incoming::{Incoming, tests::message},
        },
        *,
    };

    const ROW: &[u8] = b"\0\x03\0\0\0\x02hi\xFF\xFF\xFF\xFF\0\0\0\x04\0\0\0\x2A";

    /// What comes of bytes that arrive in these chunks; `None` while there is no end.
    fn run(chunks: &[&[u8]]) -> Result<Option<Option<Row>>, Error> {
        let (mut incoming, mut answer) = (Incoming::default(), Answer::default());
        for chunk in chunks {
            incoming.buffer().extend_from_slice(chunk);
            while let Some(message) = incoming.next()? {
                if answer.take(message)? {
                    return Ok(Some(answer.into_row()));
                }
            }
        }
        Ok(None)
    }

    fn answer() -> Vec<u8> {
        [
            message(b'1', b""),
            message(b'N', b"SNOTICE\0C00000\0\0"),
            message(b'2', b""),
            message(b'T', b"\0\0"),
            message(b'D', ROW),
            message(b'S', b"TimeZone\0GMT\0"),
            message(b'D', b"\0\0"),
            message(b'C', b"SELECT 2\0"),
            message(b'Z', b"I"),
        ]
        .concat()
    }

    #[test]
    fn a_statement_is_one_write() {
        let mut out = BytesMut::new();
        write("SELECT $1, $2", &[(&7i32 as _, Type::INT4), (&None::<&str> as _, Type::TEXT)], &mut out).unwrap();
        let expected: &[&[u8]] = &[
            b"P\0\0\0\x1D\0SELECT $1, $2\0\0\x02\0\0\0\x17\0\0\0\x19",
            b"B\0\0\0\x1C\0\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x07\xFF\xFF\xFF\xFF\0\x01\0\x01",
            b"D\0\0\0\x06P\0",
            b"E\0\0\0\x09\0\0\0\0\0",
            b"S\0\0\0\x04",
        ];
        assert_eq!(&out[..], expected.concat());
    }

    #[test]
    fn the_first_row_is_kept() {
        let row = run(&[&answer()]).unwrap().unwrap().unwrap();
        assert_eq!(row.try_get::<_, &str>(0).unwrap(), "hi");
        assert_eq!(row.try_get::<_, Option<&str>>(1).unwrap(), None);
        assert_eq!(row.try_get::<_, i32>(2).unwrap(), 42);
        assert!(matches!(row.try_get::<_, &str>(1), Err(Error::Shape)));
        assert!(matches!(row.try_get::<_, i64>(2), Err(Error::Shape)));
        assert!(matches!(row.try_get::<_, i64>(3), Err(Error::Shape)));
        assert!(matches!(row.try_get::<_, i64>(-1), Err(Error::Shape)));
    }

    #[test]
    fn no_row_is_known_only_at_the_end() {
        let empty =
            [message(b'1', b""), message(b'2', b""), message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat();
        assert!(run(&[&empty]).unwrap().unwrap().is_none());
        assert!(run(&[&empty[..empty.len() - 1]]).unwrap().is_none());
        assert!(matches!(run(&[&message(b'Z', b"I")]), Err(Error::Unexpected)));
    }

    #[test]
    fn an_error_ends_the_statement() {
        let failed =
            [message(b'1', b""), message(b'D', ROW), message(b'E', b"SERROR\0C40P01\0\0"), message(b'Z', b"I")];
        assert!(matches!(run(&[&failed.concat()]), Err(Error::Refused(state)) if state == "40P01"));
        assert!(matches!(run(&[&message(b'G', b"\0\0\0")]), Err(Error::Unexpected)));
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_changes_nothing(cut in any::<proptest::sample::Index>(), size in 1usize..20) {
            let answer = answer();
            let (before, after) = answer.split_at(cut.index(answer.len()));
            for chunks in [vec![before, after], answer.chunks(size).collect()] {
                let row = run(&chunks).unwrap().unwrap().unwrap();
                prop_assert_eq!(row.try_get::<_, i32>(2).unwrap(), 42);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), columns in 0u8..4) {
            let _ = run(&[&bytes]);
            let row = Row([&[0, columns], bytes.as_slice()].concat());
            for index in 0..5 {
                let _ = row.try_get::<_, Option<&str>>(index);
            }
            let _ = Row(bytes).try_get::<_, i64>(1);
        }
    }
}
