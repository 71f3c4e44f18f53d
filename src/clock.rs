//! Wall-clock time and the ids that sort by it. In a Worker the clock stands still between two I/O events.

use std::{cell::RefCell, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{ContextV7, Uuid};

/// A moment, in milliseconds since 1970 (UTC): the resolution of the platform's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The present.
    pub fn now() -> Self {
        // Whole milliseconds far below 2^53: exact.
        Self(js_sys::Date::now() as u64)
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds from `earlier` to this moment; 0 if it is not earlier.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time from `earlier` to this moment; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis_since(earlier))
    }

    /// The moment this long ago.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// For PostgreSQL.
    pub fn utc(self) -> DateTime<Utc> {
        i64::try_from(self.0).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
    }

    /// A message id of this moment. Ids made in one isolate strictly increase.
    pub fn message_id(self) -> Uuid {
        thread_local!(static CONTEXT: RefCell<ContextV7> = const { RefCell::new(ContextV7::new()) });
        let (seconds, nanos) = (self.0 / 1000, (self.0 % 1000) as u32 * 1_000_000);
        CONTEXT.with_borrow(|context| Uuid::new_v7(uuid::Timestamp::from_unix(context, seconds, nanos)))
    }
}

/// As Python's `isoformat()` with microseconds and an explicit offset: `2025-10-01T14:24:19.941000+00:00`. Without the
/// offset JavaScript would read it as local time.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.utc().to_rfc3339_opts(SecondsFormat::Micros, false))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(u64::try_from(time.timestamp_millis()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_json() {
        let now = Timestamp::from_millis(1_759_328_659_941);
        let json = serde_json::to_string(&now).unwrap();
        assert_eq!(json, "\"2025-10-01T14:24:19.941000+00:00\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), now);
    }

    #[test]
    fn ids_of_one_millisecond_increase() {
        let now = Timestamp::from_millis(1_759_328_659_941);
        let ids: Vec<Uuid> = (0..1000).map(|_| now.message_id()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[0].get_version_num(), 7);
        assert_eq!(ids[0].get_timestamp().unwrap().to_unix(), (1_759_328_659, 941_000_000));
    }
}
